"""The page to review labels, opened from the disk: what is decided by hand and by keyboard is what the table says."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile

from ossicle import datasets
from ossicle.data.manifest import Clip, Manifest
from ossicle.field.page import Card, publish
from ossicle.report.looks import look

pytestmark = pytest.mark.browser
RATE = 8000
NAMES = [
    b'a "quoted", name.wav',
    b"<img src=x onerror=alert(1)>.wav",
    b"no utf-8 \xff.wav",
    "Vögel \u202e.wav".encode(),
    b"e.wav",
]
LABELS = ["dog", "<b>rain</b>", 'a "label", quoted', "dog", "clock"]
CODES = {"ArrowDown": 40, "ArrowUp": 38, "Backspace": 8, "Enter": 13, "Escape": 27}


@pytest.fixture(scope="module", params=[False, True], ids=["one label", "several"])
def page(request, browser, tmp_path_factory):
    """The page of five labelled clips and one that is not, and the data that it is of."""
    root = tmp_path_factory.mktemp("sounds")
    clips = []
    for number, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        path = root / os.fsdecode(name)
        soundfile.write(os.fsencode(path), np.sin(np.arange(RATE) * (0.1 + 0.1 * number)), RATE)
        several = (label.replace(",", ""),) if request.param else (label,)
        clips.append(Clip(path, path.name, several, fold=1 + number % 2))
    long = root / "long.wav"
    soundfile.write(long, 0.1 * np.random.default_rng(0).normal(size=3 * RATE), RATE)
    whole = Manifest.of("sounds", clips, multilabel=request.param)
    doubts = [Card(clip, (("clock", 0.6), (*clip.labels, 0.4)), "clips like it say clock") for clip in clips]
    new = [Card(Clip(long, "long.wav", fold=2, start=1.0, stop=2.5), (("dog", 0.5),), "perhaps dog")]
    frontend = {"name": "logmel", "sample_rate": RATE, "seconds": 1.0, "n_fft": 256, "hop": 128, "mels": 16}
    index = publish(root / "review", whole, doubts, new, look=look(frontend), notes=[])
    browser.events.clear()
    browser.call("Page.navigate", url=index.as_uri())
    browser.until("location.protocol == 'file:' && document.readyState == 'complete'")
    browser.run("localStorage.clear(); decided = {}; cards.forEach(show); count()")
    return browser, whole, root


def press(browser, *keys):
    for key in keys:
        how = {"key": key, "windowsVirtualKeyCode": CODES.get(key, ord(key[0].upper()))}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else None)
        browser.call("Input.dispatchKeyEvent", type="keyDown", **how, **({"text": text} if text else {}))
        browser.call("Input.dispatchKeyEvent", type="keyUp", **how)


def handed_back(browser, root):
    """What train would make of the page's table."""
    content = browser.run("file().arrayBuffer().then((bytes) => [...new Uint8Array(bytes)])")
    (root / "labels.csv").write_bytes(bytes(content))
    return datasets.load(root / "labels.csv")


def test_undecided_it_is_the_data_itself(page):
    browser, whole, root = page
    assert handed_back(browser, root).fingerprint() == whole.fingerprint()
    assert browser.status() == "0 of 6 decided"


def test_decisions_by_keyboard_come_back_as_a_table(page):
    browser, whole, root = page
    several = whole.multilabel
    press(browser, "ArrowDown")
    assert browser.run("cards.indexOf(document.activeElement)") == 0
    press(browser, "1")  # keep it
    press(browser, *["ArrowDown"] * several)
    assert browser.run("cards.indexOf(document.activeElement)") == 1
    press(browser, *("23" if several else "2"), *["ArrowDown"] * several)  # of several, what was there is taken away
    press(browser, "u", "ArrowDown", "n", *"new, one", "Enter", "ArrowDown")
    press(browser, "1", *["ArrowUp"] * (not several), "Backspace", "ArrowDown")
    press(browser, "1")  # what has no label is a dog
    assert browser.status() == "5 of 6 decided"
    table = handed_back(browser, root)
    found = [clip.labels for clip in table.clips]
    named = ("dog", "new", "one") if several else ("new, one",)
    assert found == [whole.clips[0].labels, ("clock",), (), named, ("clock",), ("dog",)]
    assert [clip.path for clip in table.clips[:5]] == [clip.path for clip in whole.clips]
    assert (table.clips[5].start, table.clips[5].stop, table.clips[5].fold) == (1.0, 2.5, 2)
    assert not table.clips[2].labelled


def test_decisions_outlive_the_page_and_can_be_taken_back(page):
    browser, whole, root = page
    before = browser.run("text()")
    browser.call("Page.reload")
    browser.until("document.readyState == 'complete' && typeof cards == 'object' && cards.length == 6")
    assert browser.status() == "5 of 6 decided"
    assert browser.run("text()") == before
    pressed = browser.run("buttons(cards[5]).map((button) => button.getAttribute('aria-pressed'))")
    assert pressed[0] == "true"
    browser.run("cards.forEach((card) => decide(card, undefined))")
    assert handed_back(browser, root).fingerprint() == whole.fingerprint()


def test_sounds_play_one_at_a_time(page):
    browser, _, _ = page
    browser.run("for (const card of cards) audio(card).loop = true")  # a busy machine may look late
    browser.run("cards[0].querySelector('.picture').click()")
    browser.until("!audio(cards[0]).paused && audio(cards[0]).duration == 1")
    browser.run("cards[5].focus()")
    press(browser, " ")
    browser.until("!audio(cards[5]).paused && audio(cards[0]).paused && audio(cards[5]).duration == 1.5")
    press(browser, " ")
    browser.until("audio(cards[5]).paused")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page, scheme):
    browser, _, _ = page
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    assert browser.run("document.documentElement.scrollWidth") == 320
    assert browser.run("[...document.querySelectorAll('.choices button')].every((button) => button.offsetHeight >= 44)")
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_the_page_fetches_nothing_but_its_sounds_and_runs_nothing_but_its_script(page):
    browser, _, root = page
    assert not browser.log()
    asked = {address for address in browser.requests() if not address.startswith(("data:", "blob:"))}
    assert all(address.startswith((root / "review").as_uri()) for address in asked)
    refused = "fetch('https://example.org').then(() => 'sent', () => 'refused')"
    assert browser.run(refused) == "refused"
    assert browser.run("document.querySelectorAll('article img, article b, article script').length") == 0
