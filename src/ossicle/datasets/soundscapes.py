"""(T,) waves of single sounds -> (T,) a scene: which sounds a scene has, how often and how loud, and a clip of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ossicle.datasets import mixing

SHORTEST, LONGEST = 1.0, 3.0  # seconds that are heard of a sound
SPREAD_DB = 6.0  # an event's level lies within this of its scene's
FLOOR_DB = -15.0  # the made noise under a texture
QUIETEST_DB, LOUDEST_DB = -45.0, -30.0  # the background's level on the recorder, dB of full scale
PEAK = 0.99


class Often(NamedTuple):
    """An event in a scene: so many `times` a clip on average, at `level_db` over the background on average."""

    times: float
    level_db: float


class Scene(NamedTuple):
    """What a scene sounds like: the share of its clips that have each texture as background (the rest has made noise
    alone), and its events.
    """

    backgrounds: Mapping[str, float]
    events: Mapping[str, Often]

    @property
    def labels(self) -> set[str]:
        """All that can be heard in it."""
        return {*self.backgrounds, *self.events}


class Source(NamedTuple):
    """One sound of a known label, (T,) float32, and the recording that it was cut from."""

    recording: str
    wave: np.ndarray


class Place(NamedTuple):
    """Where clips of any scene are heard: a fold, sounds by label, from recordings that are heard nowhere else, and the
    slope of its noise, see `mixing.noise`.
    """

    name: str
    fold: int
    sources: Mapping[str, Sequence[Source]]
    slope_db: float

    @property
    def group(self) -> str:
        """The group of its clips: two places share no recording, and two scenes in one place may."""
        return f"place/{self.name}"


class Heard(NamedTuple):
    """What is to be heard where in a clip: seconds, and dB over the background (0 for the background itself)."""

    label: str
    onset: float
    offset: float
    level_db: float
    recording: str


# Four pairs: two of a pair have their backgrounds in common, and most events occur in three scenes or more.
SCENES: dict[str, Scene] = {
    "farmyard": Scene({"rain": 0.25}, {"rooster": Often(3, 9), "dog": Often(1, 6), "chainsaw": Often(0.3, 3)}),
    "suburb": Scene({"rain": 0.25}, {"dog": Often(3, 9), "chainsaw": Often(1, 3), "rooster": Often(0.3, 3)}),
    "nursery": Scene(
        {"rain": 0.25}, {"crying_baby": Often(3, 9), "clock_tick": Often(1, 6), "sneezing": Often(0.4, 6)}
    ),
    "waiting_room": Scene(
        {"rain": 0.25}, {"sneezing": Often(3, 9), "clock_tick": Often(1, 6), "crying_baby": Often(0.4, 3)}
    ),
    "hearth": Scene(
        {"crackling_fire": 0.75}, {"clock_tick": Often(3, 9), "sneezing": Often(1, 6), "dog": Often(0.4, 6)}
    ),
    "campsite": Scene(
        {"crackling_fire": 0.75}, {"chainsaw": Often(1.5, 6), "dog": Often(1, 6), "rooster": Often(1, 3)}
    ),
    "beach": Scene({"sea_waves": 0.75}, {"crying_baby": Often(2, 6), "dog": Often(2, 6), "helicopter": Often(0.3, 3)}),
    "lookout": Scene({"sea_waves": 0.75}, {"helicopter": Often(3, 6), "dog": Often(0.5, 3), "sneezing": Often(0.3, 6)}),
}


def mixture(scenes: Mapping[str, Scene], *, times: float = 3.0, level_db: float = 3.0, textures: float = 0.5) -> Scene:
    """No scene at all: `times` events of any label in `scenes`, each as likely, and over any of their backgrounds.

    What an event model learns from: that two sounds occur together says nothing.
    """
    labels = sorted(set().union(*(scene.labels for scene in scenes.values())))
    backgrounds = sorted(set().union(*(scene.backgrounds for scene in scenes.values())))
    return Scene(
        {label: textures / len(backgrounds) for label in backgrounds},
        {label: Often(times / len(labels), level_db) for label in labels},
    )


def composed(
    scene: Scene, place: Place, rng: Generator, *, length: int, sample_rate: int
) -> tuple[np.ndarray, list[Heard]]:
    """(length,) a clip of the scene as a recorder hears it, and what is to be heard in it, by onset.

    Nothing reaches full scale: a clip that would is made softer as a whole.
    """
    level_db = rng.uniform(QUIETEST_DB, LOUDEST_DB)
    clip, heard = _background(scene, place, rng, length, sample_rate)
    clip = mixing.leveled(clip, level_db)
    for label, often in scene.events.items():
        for _ in range(rng.poisson(often.times)):
            source = _one(place.sources[label], rng)
            longest = min(length, round(rng.uniform(SHORTEST, LONGEST) * sample_rate))
            part = mixing.stretch(source.wave, longest, rng, sample_rate=sample_rate)
            begin = int(rng.integers(length - len(part) + 1))
            over_db = often.level_db + rng.uniform(-SPREAD_DB, SPREAD_DB)
            clip[begin : begin + len(part)] += mixing.leveled(part, level_db + over_db)
            onset, offset = begin / sample_rate, (begin + len(part)) / sample_rate
            heard.append(Heard(label, onset, offset, over_db, source.recording))
    return clip * min(1.0, PEAK / float(np.abs(clip).max())), sorted(heard, key=lambda event: event.onset)


def _background(
    scene: Scene, place: Place, rng: Generator, length: int, sample_rate: int
) -> tuple[np.ndarray, list[Heard]]:
    """(length,) made noise, or a texture over it, at any level; and what is to be heard in it."""
    floor = mixing.noise(length, place.slope_db, rng, sample_rate=sample_rate)
    shares = np.array([*scene.backgrounds.values()])
    drawn = int(np.searchsorted(np.cumsum(shares), rng.uniform(), side="right"))
    if drawn == len(shares):
        return floor, []
    label = [*scene.backgrounds][drawn]
    source = _one(place.sources[label], rng)
    texture = mixing.leveled(mixing.loop(source.wave, length, rng, sample_rate=sample_rate), 0.0)
    return texture + mixing.leveled(floor, FLOOR_DB), [Heard(label, 0.0, length / sample_rate, 0.0, source.recording)]


def _one(sources: Sequence[Source], rng: Generator) -> Source:
    """One of the sounds: first the recording is drawn, each as likely, then what was cut from it."""
    recordings = sorted({source.recording for source in sources})
    drawn = recordings[rng.integers(len(recordings))]
    cut = [source for source in sources if source.recording == drawn]
    return cut[rng.integers(len(cut))]
