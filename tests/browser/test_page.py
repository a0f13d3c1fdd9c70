"""The page in a browser, held to Python: what it hears in files, and that it sends nothing."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import torch

from ossicle import audio, slots
from ossicle.deploy.bundle import load
from ossicle.deploy.config import GOLDEN, MODEL, file_entry, opened
from ossicle.deploy.events import events
from ossicle.deploy.export import export
from ossicle.deploy.head import Head, head, with_head
from ossicle.deploy.stream import Stream, Window
from ossicle.deploy.web import publish
from ossicle.model import Backbone, Classifier
from ossicle.recipe import Spec

from ..deploy.conftest import HOP, RATE, WINDOW, write_bundle
from .conftest import ready, served

pytestmark = pytest.mark.browser
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A bundle with a front end, an encoder and a head, none of which was trained."""
    torch.manual_seed(0)
    frontend = Spec("logmel", {"sample_rate": 8000, "seconds": 0.5, "n_fft": 512, "hop": 128, "mels": 32})
    backbone = Backbone(frontend, Spec("resnet", {"width": 4}))
    backbone.fit_normalization([backbone.frontend(0.1 * torch.randn(8, 1, 4000))])
    folder = tmp_path_factory.mktemp("shipped") / "bundle"
    clip = np.random.default_rng(5).normal(0, 0.2, (1, 9000)).astype(np.float32)
    export(Classifier(backbone, ["dog", "rain", "clock"]).eval(), folder, clips={"garden.wav": clip}, hop=1000)
    return folder


@pytest.fixture(scope="module")
def page(shipped, browser):
    with served(shipped) as address:
        ready(browser, address)
        yield browser


def hear(page, path):
    """Every window of a file and every event, as the page has them."""
    page.run("heard.length = ended.length = 0")
    page.open_file(path)
    page.until(f"document.getElementById('status').textContent.startsWith({json.dumps(path.name + ': ')})")
    return page.run("heard"), page.run("ended")


def write(path, wave, rate=RATE):
    soundfile.write(path, wave.T, rate, subtype="FLOAT")
    return path


def test_golden_clips_score_as_in_python(shipped, page, tmp_path):
    recognizer = load(shipped)
    with np.load(shipped / GOLDEN) as golden:
        for name, wave, there in zip(golden["name"], golden["wave"], golden["score"], strict=True):
            (window,), _ = hear(page, write(tmp_path / f"{name}.wav", wave))
            score = np.array(window["score"])
            assert np.abs(score - recognizer.scores(wave[None])[0][0]).max() <= TOLERANCE
            assert np.abs(score - there).max() <= TOLERANCE
            shown = page.run("[...document.querySelectorAll('#scores li')].map(row => Number(row.dataset.score))")
            assert shown == window["score"]
    assert page.run("[...document.querySelectorAll('#scores .label')].map(e => e.textContent)") == [*recognizer.labels]


def test_a_long_stereo_file_has_the_windows_it_has_in_python(shipped, page, tmp_path):
    wave = np.random.default_rng(1).normal(0, 0.1, (2, 17_777)).astype(np.float32)
    heard, _ = hear(page, write(tmp_path / "long.wav", wave))
    windows = list(load(shipped).stream().listen([wave]))
    assert [(window["start"], window["stop"]) for window in heard] == [(w.start, w.stop) for w in windows]
    assert np.abs(np.array([w["score"] for w in heard]) - [w.score for w in windows]).max() <= TOLERANCE


@pytest.mark.parametrize(("rate", "channels", "kind"), [(44_100, 2, "wav"), (16_000, 1, "flac"), (6000, 1, "wav")])
def test_files_of_other_rates_score_as_in_python(shipped, page, tmp_path, rate, channels, kind):
    """Noise that is as loud in every octave, as most sound is."""
    white = np.fft.rfft(np.random.default_rng(rate).normal(0, 1, (channels, 3 * rate + 76)))
    wave = 10 * np.fft.irfft(white / np.sqrt(np.arange(1, white.shape[1] + 1)))
    path = tmp_path / f"other.{kind}"
    soundfile.write(path, wave.T, rate, subtype="PCM_16")
    recognizer = load(shipped)
    with audio.Sound(path) as sound:
        windows = list(recognizer.stream(rate).listen(sound.blocks(channels=recognizer.config.mixing)))
    heard, _ = hear(page, path)
    assert [(window["start"], window["stop"]) for window in heard] == [(w.start, w.stop) for w in windows]
    score = np.array([window["score"] for window in heard])
    difference = np.abs(score - [window.score for window in windows]).max()
    assert difference <= TOLERANCE


def test_nothing_is_sent_and_nothing_can_be(page, tmp_path):
    before = page.requests()
    assert any(address.endswith(MODEL) for address in before)
    hear(page, write(tmp_path / "noise.wav", np.random.default_rng(2).normal(0, 0.1, (1, 9000)).astype(np.float32)))
    assert page.requests() == before
    tries = {
        "fetch": "fetch('/', {method: 'POST', body: 'sound'}).then(() => 'sent', () => 'refused')",
        "beacon": "navigator.sendBeacon('/', 'sound') ? 'sent' : 'refused'",
        "socket": """new Promise((done) => { const socket = new WebSocket('ws://' + location.host);
            socket.onerror = () => done('refused'); socket.onopen = () => done('sent'); })""",
        "thread": """new Promise((done) => {
            const text = "fetch('%s').then(() => postMessage('sent'), () => postMessage('refused'))";
            const code = new Blob([text.replace('%s', location.href)], {type: 'text/javascript'});
            new Worker(URL.createObjectURL(code)).onmessage = ({data}) => done(data); })""",
        "image": """new Promise((done) => { const image = new Image(); image.onload = () => done('sent');
            image.onerror = () => done('refused'); image.src = '/sound.png'; })""",
    }
    blocked = "new Set(); addEventListener('securitypolicyviolation', (event) => blocked.add(event.effectiveDirective))"
    page.run(f"window.blocked = {blocked}; null")
    assert {name: page.run(script) for name, script in tries.items() if name != "beacon"} == dict.fromkeys(
        tries.keys() - {"beacon"}, "refused"
    )
    page.run(tries["beacon"])
    assert page.run("[...blocked].sort()") == ["connect-src", "img-src"]


@pytest.fixture(scope="module")
def loud_page(loudness_model, browser, tmp_path_factory):
    folder = write_bundle(tmp_path_factory.mktemp("loud") / "bundle", loudness_model)
    with served(folder) as address:
        ready(browser, address)
        yield browser, folder


def test_a_file_has_the_events_it_has_in_python(loud_page, tmp_path):
    page, folder = loud_page
    loud, quiet = np.full((1, 3000), 0.9, np.float32), np.zeros((1, 5100), np.float32)
    path = write(tmp_path / "knocks.wav", np.concatenate([quiet, loud, quiet, loud, loud], axis=1))
    _, ended = hear(page, path)
    wanted = [vars(event) for event in load(folder).listen(path)]
    assert len(wanted) == 4
    assert [{**event, "score": None} for event in ended] == [{**event, "score": None} for event in wanted]
    assert [event["score"] for event in ended] == pytest.approx([event["score"] for event in wanted], abs=TOLERANCE)
    rows = page.run("[...document.querySelectorAll('#events tr')].map(row => row.dataset.label)")
    assert rows == [event["label"] for event in reversed(wanted)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(loud_page, tmp_path, scheme):
    page, _ = loud_page
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    hear(page, write(tmp_path / "a-file-whose-name-is-longer-than-a-phone-is-wide.wav", np.ones((1, 8000), np.float32)))
    assert page.run("document.documentElement.scrollWidth") == 320
    assert page.run("[...document.querySelectorAll('button')].every(button => button.offsetHeight >= 44)")
    colors = page.run(
        """["h1", "#about", "#status", "#listen", "#choose", "li", "li.on", "th", "td", "footer"].map((name) => {
          const element = document.querySelector(name), numbers = (color) => color.match(/[\\d.]+/g).map(Number);
          let ground = element;
          while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
          return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor].map(numbers); })"""
    )
    page.call("Emulation.clearDeviceMetricsOverride")
    for ink, paper in colors:
        dark, bright = sorted((luminance(ink), luminance(paper)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    assert (luminance(colors[0][1]) > 0.5) == (scheme == "light")


def luminance(color):
    """Of an sRGB color of three numbers to 255, as WCAG 2.2 defines it."""
    parts = np.array(color[:3]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_the_rate_in_a_file_is_found(loud_page, tmp_path):
    page, _ = loud_page
    for name, kind in [("a.wav", "FLOAT"), ("a.wav", "PCM_24"), ("a.flac", "PCM_16"), ("a.ogg", "VORBIS")]:
        soundfile.write(tmp_path / name, np.zeros(3000), 11_025, subtype=kind)
        content = base64.b64encode((tmp_path / name).read_bytes()).decode()
        script = f"""import("/web/sound.js").then(({{ decoded }}) => decoded(new File(
            [Uint8Array.from(atob("{content}"), (c) => c.charCodeAt(0))], "a"), 8000)).then(({{ rate }}) => rate)"""
        assert page.run(script) == 11_025


def test_dropped_files(loud_page, tmp_path):
    page, _ = loud_page
    long = write(tmp_path / "long.wav", np.full((1, 60 * RATE), 0.9, np.float32))
    short = write(tmp_path / "short.wav", np.zeros((1, RATE), np.float32))
    page.run("heard.length = ended.length = 0")
    page.drop(long)
    page.drop(short)
    page.until("document.getElementById('status').textContent.startsWith('short.wav: ')")
    rows = page.run("[...document.querySelectorAll('#events tr')].map(row => row.dataset.label)")
    assert rows == ["quiet"], "of two at once the last is heard, and nothing of the first is shown with it"
    page.drop(short, long)
    page.until("document.getElementById('status').textContent.endsWith('1 more left out')")
    page.drop(long)
    page.until("document.getElementById('status').textContent == 'Hearing long.wav'")
    page.run("document.getElementById('listen').click()")
    page.until("/^long.wav: .* of 1:00.0 heard$/.test(document.getElementById('status').textContent)")
    assert page.run("document.getElementById('listen').textContent") == "Listen"


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound " * 20, b"RIFF\0\0\0\0WAVEfmt " + b"\xff" * 40])
def test_what_is_no_sound_does_not_end_the_page(loud_page, tmp_path, content):
    page, _ = loud_page
    (tmp_path / "a.wav").write_bytes(content)
    page.drop(tmp_path / "a.wav")
    page.until("document.getElementById('status').textContent == 'a.wav is no sound that this browser can read'")
    assert page.run("document.getElementById('listen').textContent") == "Listen"


def test_a_file_that_is_no_sound_is_a_sentence(loud_page, tmp_path):
    page, _ = loud_page
    path = tmp_path / "notes.wav"
    path.write_text("no sound")
    page.open_file(path)
    page.until("document.getElementById('status').textContent == 'notes.wav is no sound that this browser can read'")


def test_events_are_those_of_python_for_any_scores(loud_page):
    page, _ = loud_page
    draw = np.random.default_rng(3)
    for gap, least, spread in [(0.0, 0.0, 0.3), (0.7, 0.0, 0.3), (0.0, 1.2, 0.05), (2.0, 3.0, 0.1)]:
        score = np.clip(0.5 + np.cumsum(draw.normal(0, spread, (200, 3)), axis=0) % 1 - 0.5, 0, 1).astype(np.float32)
        windows = [Window(i / 2, i / 2 + 1, s, s, bool(draw.random() < 0.1)) for i, s in enumerate(score)]
        how = {"on": [0.5, 0.6, 0.7], "off": 0.4, "min_seconds": least, "gap_seconds": gap}
        told = [{"start": w.start, "stop": w.stop, "score": w.score.tolist(), "anew": w.anew} for w in windows]
        script = f"""import("/web/events.js").then(({{ Events }}) => {{
            const events = new Events(["a", "b", "c"], {json.dumps(how)});
            return [...{json.dumps(told)}.flatMap((window) => events.hear(window)), ...events.end()]; }})"""
        wanted = [vars(event) for event in events(windows, "abc", **how)]
        assert len(wanted) > 10
        assert page.run(script) == wanted


@pytest.mark.parametrize("hop", [HOP, WINDOW, 3 * WINDOW // 2, 777])
@pytest.mark.parametrize("policy", ["repeat", "zero"])
def test_windows_are_those_of_python_for_any_blocks(loud_page, hop, policy):
    page, _ = loud_page
    draw = np.random.default_rng(hop)
    config = {"window": WINDOW, "hop": hop, "sample_rate": RATE, "channels": 1, "policy": policy}
    for length in (1, 300, WINDOW, WINDOW + 1, 5 * WINDOW + 123):
        wave = draw.integers(-999, 999, length).astype(np.float32) / 1024
        wave[length // 2] = 1e6  # no sound
        cuts = np.sort(draw.integers(0, length + 1, 6)).tolist()
        waves = []
        stream = Stream(lambda wave, to=waves: (to.append(wave[0, 0]), (np.zeros((1, 2)),) * 2)[1], **config)
        spans = [(window.start, window.stop) for window in stream.listen([wave])]
        script = f"""import("/web/stream.js").then(({{ Stream }}) => {{
            const wave = new Float32Array({wave.tolist()}), cuts = {[0, *cuts, length]};
            const stream = new Stream({json.dumps(config)});
            const blocks = cuts.slice(1).map((cut, i) => wave.subarray(cuts[i], cut));
            const windows = [...blocks.flatMap((block) => stream.push([block])), ...stream.flush()];
            return [stream.broken, windows.map((w) => [w.start, w.stop, [...w.wave]])]; }})"""
        broken, windows = page.run(script)
        assert broken == 1
        assert [tuple(window[:2]) for window in windows] == spans
        assert np.array_equal([window[2] for window in windows], waves)


def test_a_tone_is_in_its_place_and_0_db(loud_page):
    page, _ = loud_page
    wave = np.sin(2 * np.pi * 32 * np.arange(256) / 256).tolist()
    powers = page.run(f'import("/web/spectrogram.js").then(({{ powers }}) => [...powers({wave})])')
    wanted = np.abs(np.fft.rfft(wave))[:-1] ** 2
    assert powers == pytest.approx(wanted, abs=1e-8)


def static(folder, browser):
    """What the page of a published folder says it tells, by a web server that knows nothing of it."""
    how = partial(SimpleHTTPRequestHandler, directory=folder.parent)
    with patch.object(SimpleHTTPRequestHandler, "log_message"), ThreadingHTTPServer(("127.0.0.1", 0), how) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ready(browser, f"http://localhost:{server.server_port}/{folder.name}/")
        server.shutdown()
        thread.join()
    return browser.run("document.getElementById('about').textContent")


def test_a_published_folder_needs_only_a_web_server(shipped, browser):
    publish(shipped)
    assert "dog, rain, clock" in static(shipped, browser)


def test_a_published_page_goes_along_with_an_update(shipped, browser, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(shipped, folder)
    publish(folder)
    config, files = opened(folder)
    old = head(files[MODEL])
    files[MODEL] = with_head(files[MODEL], Head(np.vstack([old.weight, old.weight[:1]]), np.append(old.bias, 0)))

    def fill(place):
        for name, content in files.items():
            (place / name).write_bytes(content)
        entries = {name: file_entry(content) for name, content in files.items()}
        replace(config, labels=(*config.labels, "owl"), files=entries).write(place)

    slots.update(folder, fill, live=folder)
    publish(folder)
    assert "dog, rain, clock, owl" in static(folder, browser)
    with served(folder) as address:
        ready(browser, address)
        assert "owl" in browser.run("document.getElementById('about').textContent")


def test_a_changed_model_is_refused_by_the_page(loudness_model, browser, tmp_path):
    folder = write_bundle(tmp_path / "bundle", loudness_model)
    with served(folder) as address:
        (folder / MODEL).write_bytes(loudness_model[:-1] + b"\0")
        browser.go(address)
        browser.until("document.getElementById('status').textContent.includes('not the file that was exported')")
