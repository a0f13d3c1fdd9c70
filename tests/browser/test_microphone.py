"""The page with a WAV as its microphone, and nothing but a keyboard to work it with."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile

from ossicle.deploy.bundle import load

from ..deploy.conftest import HOP, RATE, WINDOW, write_bundle
from .chromium import Chromium
from .conftest import ready, served

pytestmark = pytest.mark.browser
SECONDS = 7
LOUD, QUIET = 0.9, 1.6  # seconds of the WAV, which comes round again and again


@pytest.fixture(scope="module")
def heard(loudness_model, tmp_path_factory):
    """The recording, the bundle, and all that a page heard, told and asked for in a few seconds at its microphone."""
    folder = tmp_path_factory.mktemp("microphone")
    recording, bundle = folder / "microphone.wav", write_bundle(folder / "bundle", loudness_model)
    beat = np.where(np.arange(48_000) // 48 % 2, 0.9, -0.9)
    wave = np.concatenate([np.zeros(round(48_000 * QUIET / 2)), beat[: round(48_000 * LOUD)]])
    soundfile.write(recording, np.concatenate([wave, np.zeros(round(48_000 * QUIET / 2))]), 48_000, subtype="PCM_16")
    browser = Chromium(folder / "profile", recording)
    with served(bundle) as address:
        try:
            ready(browser, address)
            before = len(browser.requests())
            focus_on(browser, "listen")
            browser.press("Enter")
            browser.until(f"heard.length && heard.at(-1).stop > {SECONDS}")
            button = browser.run("document.getElementById('listen').textContent")
            browser.press(" ")
            browser.until("document.getElementById('status').textContent.endsWith('heard')")
            asked, errors = browser.requests()[before:], browser.log()
            windows, events, status = browser.run("heard"), browser.run("ended"), browser.status()
            dropped = drop_while_listening(browser, recording)
        finally:
            browser.close()
    return {
        "recording": recording,
        "bundle": bundle,
        "windows": windows,
        "events": events,
        "status": status,
        "button": button,
        "dropped": dropped,
        "asked": asked,
        "errors": errors,
    }


def drop_while_listening(browser, path):
    """What the page hears of a file that is dropped while the microphone runs, and the button before and after."""
    button = "document.getElementById('listen').textContent"
    browser.press(" ")
    browser.until("document.getElementById('status').textContent == 'Listening' && heard.length > 3")
    browser.run("ended.length = 0")
    before = browser.run(button)
    browser.drop(path)
    browser.until(f"document.getElementById('status').textContent.startsWith('{path.name}: ')")
    return {"events": browser.run("ended"), "buttons": [before, browser.run(button)]}


def focus_on(browser, name):
    for _ in range(5):
        browser.press("Tab")
        if browser.run("document.activeElement.id") == name:
            return
    raise AssertionError(f"Tab does not come to {name}")


def test_windows_follow_each_other_and_score_as_in_python(heard):
    recognizer, windows = load(heard["bundle"]), heard["windows"]
    whole = [window for window in windows if round((window["stop"] - window["start"]) * RATE) == WINDOW]
    assert [round(window["start"] * RATE) for window in whole[:-1]] == [HOP * i for i in range(len(whole) - 1)]
    wave = np.array([window["wave"] for window in windows], np.float32)[:, None]
    assert np.abs(recognizer.scores(wave)[0] - [window["score"] for window in windows]).max() <= 1e-4


def test_the_sounds_of_the_recording_are_heard_in_their_order(heard):
    wanted = [event.label for event in load(heard["bundle"]).listen(heard["recording"])]
    assert sorted(wanted) == ["loud", "quiet", "quiet"]
    events = sorted(heard["events"], key=lambda event: event["start"])
    assert len(events) >= 4
    assert all(one["label"] != other["label"] for one, other in pairwise(events))
    for event in events[1:-1]:  # the first and the last were cut
        assert event["stop"] - event["start"] == pytest.approx(LOUD if event["label"] == "loud" else QUIET, abs=0.2)


def test_the_keyboard_begins_and_ends_it(heard):
    assert heard["button"] == "Stop"
    assert heard["status"].endswith("heard")
    assert not heard["errors"]


def test_while_listening_nothing_is_asked_for_but_the_code_of_the_audio_thread(heard):
    assert {address.rpartition("/")[2] for address in heard["asked"]} <= {"tap.js"}


def test_a_file_dropped_while_listening_is_heard_instead(heard):
    assert heard["dropped"]["buttons"] == ["Stop", "Listen"]
    told = [(event["label"], round(event["start"], 6)) for event in heard["dropped"]["events"]]
    assert told == [(event.label, round(event.start, 6)) for event in load(heard["bundle"]).listen(heard["recording"])]
