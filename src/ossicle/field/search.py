"""Examples and hours of sound -> the moments that sound most alike, each told once. Without torch for a bundle.

Alike is the cosine of features from which the mean over all that is searched was taken: what every moment of a
place has in common then tells none of them apart (Mu and Viswanath 2018, "All-but-the-top").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path

import numpy as np

from ossicle import audio
from ossicle.audio.waves import SILENCE
from ossicle.deploy import bundle
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.clips import file_name, safe, save
from ossicle.deploy.events import Event
from ossicle.deploy.formats import Format, Place
from ossicle.deploy.listen import Write, to_errors
from ossicle.deploy.when import began
from ossicle.field.features import Features, Index, hear, unit
from ossicle.run import is_run

_ROWS = 4096


class SearchError(ValueError):
    """There is nothing to search for, or nothing to search in; says why, and what to do."""


@dataclass(frozen=True)
class Found:
    """`moments`, the most alike first, and what they were found in: `seconds` of sound in so many recordings.

    `known` of the `recordings` were in the index, which takes `size` bytes in `folder`.
    """

    moments: tuple[tuple[Event, Place], ...]
    seconds: float
    recordings: int
    known: int
    folder: Path
    size: int

    def lines(self, format: Format) -> list[str]:
        """The moments as `listen` would write them, numbered by their rank.

        SearchError where the format has no place for the name of a recording, and there are several.
        """
        sources = {place.source for _, place in self.moments}
        if format.apart and len(sources) > 1:
            raise SearchError(
                f"this format holds one recording a file, and the moments are of {len(sources)}: search them one by "
                "one, or take another format"
            )
        ranked = enumerate(self.moments, start=1)
        return [format.heading] * bool(format.heading) + [format.line(*moment, rank) for rank, moment in ranked]

    def save(self, folder: Path, report: Write = to_errors) -> None:
        """Each moment as a file `like clip.wav/0.9312 source 12.500s.flac`, at its recording's rate.

        What can no longer be read is told to `report`. OSError where a file cannot be written.
        """
        for event, place in self.moments:
            try:
                wave = audio.read(place.source, start=event.start, stop=event.stop)
            except audio.AudioError as error:
                report(json.dumps({"path": place.source, "stage": error.stage, "reason": error.reason}))
                continue
            save(
                folder / safe(event.label) / file_name(event.score, place.source, event.start),
                wave,
                _rate(place.source),
            )

    def __str__(self) -> str:
        """How much was searched, and what the index takes."""
        what = "1 recording" if self.recordings == 1 else f"{self.recordings} recordings"
        return (
            f"{len(self.moments)} moments in {self.seconds / 3600:.2f} hours of {what}, {self.known} of them heard "
            f"before; what was heard takes {self.size / 1e6:.1f} MB in {self.folder}, which may be deleted"
        )


def opened(folder: str | Path, *, hop: float | None = None, int8: bool = False, threads: int = 1) -> Recognizer:
    """What hears: a bundle, or the encoder or classifier of a run (then torch is needed).

    `hop`: seconds from window to window, half a window without. ValueError where the folder is none of these, or the
    hop leaves gaps.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SearchError(f"{folder} is not there: give the folder of a bundle, a run or a model")
    if is_run(folder) or (folder / "model.safetensors").is_file():
        if int8:
            raise SearchError(f"{folder} is no bundle, and only these have a model of 8 bit: leave out --int8")
        from ossicle.field.encoder import encoder

        recognizer = encoder(folder, threads)
    else:
        recognizer = bundle.load(folder, threads, int8=int8)
    window, rate = recognizer.config.window, recognizer.sample_rate
    step = max(1, window // 2) if hop is None else max(1, round(hop * rate)) if 0 < hop < np.inf else 0
    if not 1 <= step <= window:
        raise SearchError(f"hop is {hop:g} s: more than 0 and at most the window, {window / rate:g} s, was wanted")
    recognizer.config = replace(recognizer.config, hop=step)
    return recognizer


def example(recognizer: Recognizer, path: str | Path, start: float = 0.0, stop: float | None = None) -> np.ndarray:
    """(D,) float32: the mean of what a sound file's windows are, or those of its part from `start` to `stop` seconds.

    One that is shorter than a window is brought to length as the model's policy has it. AudioError where it cannot be
    read, SearchError where there is nothing in it to search for.
    """
    config = recognizer.config
    wave = audio.read(path, sample_rate=config.sample_rate, channels=config.mixing, start=start, stop=stop)
    if SILENCE in audio.examine(wave):
        raise SearchError(f"{path} is silent there: give a sound to search for")
    return unit(np.mean([unit(window.feature) for window in recognizer.stream().listen([wave])], axis=0))


def search(
    recognizer: Recognizer,
    likes: Sequence[str | Path],
    sources: Iterable[str | Path],
    *,
    start: float = 0.0,
    stop: float | None = None,
    top: int = 10,
    zone: tzinfo | None = None,
    index: Index | None = None,
    report: Write = to_errors,
) -> Found:
    """The `top` moments of the sources (sound files and folders, as `listen` takes them) that are most like an example.

    A moment is one window, no two of them overlap or touch, and it is named after the example that it is most like;
    `start` and `stop` are seconds of the examples. Its score is a cosine, -1 to 1. What cannot be heard is told to
    `report` and does not stop the rest; SearchError where there is no sound at all. Memory grows by the features alone,
    2 D bytes a window: 1.5 MB an hour for 512 numbers every 2.5 s.
    """
    if not likes:
        raise SearchError("nothing to search for: give an example, --like clip.wav")
    if top < 1:
        raise SearchError(f"--top {top}: at least 1 was wanted")
    examples = np.stack([example(recognizer, path, start, stop) for path in likes])
    index = index or Index(recognizer)
    heard: list[tuple[Path, Features]] = []
    known = hear(recognizer, sources, index, lambda *recording: heard.append(recording), report=report)
    if not heard:
        raise SearchError(f"there is no sound to search in {', '.join(map(str, sources)) or 'no folder'}")
    best = sorted(_moments(examples, heard, top), key=lambda moment: -moment.score)[:top]
    seconds = np.cumsum([0.0] + [features.seconds for _, features in heard])
    places = {n: _place(heard[n][0], recognizer, zone, seconds[n]) for n in {moment.recording for moment in best}}
    named = [f"like {Path(path).name}" for path in likes]
    told = [(Event(named[one.example], one.start, one.stop, one.score), places[one.recording]) for one in best]
    return Found(tuple(told), float(seconds[-1]), len(heard), known, index.folder, index.bytes())


@dataclass(frozen=True)
class _Moment:
    """A window of a recording, and the example that it is most like, both by number."""

    score: float
    recording: int
    start: float
    stop: float
    example: int


def _moments(examples: np.ndarray, heard: Sequence[tuple[Path, Features]], top: int) -> Iterator[_Moment]:
    """The `top` moments of each recording, (E, D) examples."""
    center = _center([features.feature for _, features in heard])
    wanted = unit(examples - center)
    for recording, (_, features) in enumerate(heard):
        cosine = np.concatenate([unit(part - center) @ wanted.T for part in _parts(features.feature)])
        score, best = cosine.max(axis=1), cosine.argmax(axis=1)
        for n in apart(score, features.start, features.stop, top):
            span = float(features.start[n]), float(features.stop[n])
            yield _Moment(float(score[n]), recording, *span, int(best[n]))


def apart(score: np.ndarray, start: np.ndarray, stop: np.ndarray, most: int) -> list[int]:
    """(n,) scores of windows -> at most so many of them, the highest first, of which no two overlap or touch."""
    left, chosen = np.array(score, np.float32), list[int]()
    while len(chosen) < most and (best := int(left.argmax())) >= 0 and left[best] > -np.inf:
        chosen.append(best)
        left[(start <= stop[best]) & (stop >= start[best])] = -np.inf
    return chosen


def _center(features: Sequence[np.ndarray]) -> np.ndarray:
    """The mean (D,) of all rows."""
    total = sum(part.sum(axis=0, dtype=np.float64) for rows in features for part in _parts(rows))
    return np.asarray(total / sum(map(len, features)), np.float32)


def _parts(feature: np.ndarray) -> list[np.ndarray]:
    """A few rows at a time, so that what is worked out of them stays small."""
    return np.split(feature, range(_ROWS, len(feature), _ROWS))


def _place(path: Path, recognizer: Recognizer, zone: tzinfo | None, before: float) -> Place:
    return Place(str(path), min(_rate(path), recognizer.sample_rate), began(path, zone), float(before))


def _rate(path: str | Path) -> int:
    """A file's sample rate, also where the file is not whole."""
    with audio.Sound(path) as sound:
        return sound.info.sample_rate
