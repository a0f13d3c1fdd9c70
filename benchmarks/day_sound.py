"""A day of sound, minute by minute (T,): background with events at known times and levels, made when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, default_rng

from ossicle import audio, draw
from ossicle.data.manifest import Clip
from ossicle.datasets import mixing
from ossicle.datasets.composed import BELOW_DB
from ossicle.datasets.soundscapes import LOUDEST_DB, PEAK, QUIETEST_DB, Heard, Source

LEVELS_DB = (0.0, 6.0, 12.0, 20.0)  # of events over the background, as root mean squares
APART = (20.0, 60.0)  # seconds from one event's beginning to the next one's
EDGE = 5.0  # seconds at either end of a minute that stay free of events
FADE = 1.0  # seconds over which one minute's background goes over into the next one's

Minute = tuple[np.ndarray, list[Heard]]


def sources(clips: Iterable[Clip], sample_rate: int) -> dict[str, list[Source]]:
    """Each label's sounds, without the silence at their ends; sounds of nothing else are left out."""
    found: dict[str, list[Source]] = {}
    for clip in clips:
        wave = audio.read(clip.path, sample_rate=sample_rate, channels="mix", start=clip.start, stop=clip.stop)
        if wave.any():
            sound = audio.trim_silence(wave, below_db=BELOW_DB)[0].copy()
            found.setdefault(clip.labels[0], []).append(Source(clip.recording, sound))
    return found


@dataclass(frozen=True)
class Day:
    """So many `minutes`, each of `length` samples at `sample_rate`; the last is the first once more, sample by sample.

    A minute has one background, a looped sound of `backgrounds`, at a level between -45 and -30 dB of full scale, and
    its `events` all at one of LEVELS_DB over it, so that false alarms have a level too. A minute that would clip is
    made softer as a whole. It depends on `seed` and its number alone, but for the second in which the background before
    it goes: that of the first minute is the one that will come before its return.
    """

    backgrounds: Mapping[str, Sequence[Source]]
    events: Mapping[str, Sequence[Source]]
    minutes: int
    length: int
    sample_rate: int
    seed: int = 0

    @property
    def seconds(self) -> float:
        """Of a minute."""
        return self.length / self.sample_rate

    def __iter__(self) -> Iterator[Minute]:
        """Minutes in their order, (length,) float32, and what is to be heard in each, in seconds of the day: its
        background first.
        """
        order = [*range(self.minutes - 1), 0]
        tail = self._made(order[-2])[0][self.length :]
        for place, number in enumerate(order):
            wave, heard = self._made(number)
            minute = wave[: self.length].astype(np.float32)
            minute[: len(tail)] += tail.astype(np.float32)
            tail, began = wave[self.length :], place * self.seconds
            yield minute, [event._replace(onset=event.onset + began, offset=event.offset + began) for event in heard]

    def _made(self, number: int) -> Minute:
        """(length + FADE,) a minute that fades in and out, and what is to be heard in it."""
        rng = default_rng(draw.key(self.seed, "day", number))
        level_db, over_db = rng.uniform(QUIETEST_DB, LOUDEST_DB), float(rng.choice(LEVELS_DB))
        label, source = _one(self.backgrounds, rng)
        fade = round(FADE * self.sample_rate)
        wave = mixing.loop(source.wave, self.length + fade, rng, sample_rate=self.sample_rate)
        wave = mixing.leveled(wave, level_db)
        rise = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade)  # its square and its mirror image's sum to 1
        wave[:fade] *= rise
        wave[self.length :] *= rise[::-1]
        heard = [Heard(label, 0.0, self.seconds, 0.0, source.recording)]
        for onset, label, source in self._drawn(rng):
            part = mixing.stretch(source.wave, len(source.wave), rng, sample_rate=self.sample_rate)
            begin = round(onset * self.sample_rate)
            wave[begin : begin + len(part)] += mixing.leveled(part, level_db + over_db)
            span = begin / self.sample_rate, (begin + len(part)) / self.sample_rate
            heard.append(Heard(label, *span, over_db, source.recording))
        return wave * min(1.0, PEAK / float(np.abs(wave).max())), heard

    def _drawn(self, rng: Generator) -> Iterator[tuple[float, str, Source]]:
        """The events of a minute: where they begin, and what they are."""
        onset = rng.uniform(EDGE, APART[0] + EDGE)
        while True:
            label, source = _one(self.events, rng)
            if onset + len(source.wave) / self.sample_rate > self.seconds - EDGE:
                return
            yield onset, label, source
            onset += rng.uniform(*APART)


def _one(sources: Mapping[str, Sequence[Source]], rng: Generator) -> tuple[str, Source]:
    """A label, each as likely, and one of its sounds."""
    label = sorted(sources)[rng.integers(len(sources))]
    return label, sources[label][int(rng.integers(len(sources[label])))]
