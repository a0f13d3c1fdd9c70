"""Scenes made of real events: recordings of single sounds -> a folder of scenes, of mixtures, and of unlabelled scenes.

What Table 1 of "Cross-task pre-training for on-device acoustic scene classification" (Zhang, Zou and Li) describes, a
scene being known by the events that occur in it, where the sets that it names cannot be had.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng

from ossicle import audio, draw
from ossicle.data import audit
from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets.annotated import Event, held
from ossicle.datasets.listing import listing
from ossicle.datasets.making import once
from ossicle.datasets.scan import NO_EVENT, UNKNOWN
from ossicle.datasets.soundscapes import SCENES, Heard, Place, Scene, Source, composed, mixture

VERSION = 2
BELOW_DB = 40.0  # the ends of a sound that stay this much under its peak are cut off
SLOPES_DB = (1.5, 6.0)  # the made noise of a place falls by something between these an octave
HALF = 0.5
CLIPS = ("filename", "label", "fold", "group")
HEADERS = {
    "scenes": CLIPS,
    "events": ("filename", "labels", "fold", "group"),
    "seconds": ("filename", "clip_name", "labels", "fold", "group", "start", "stop"),
    "unlabelled": CLIPS,
    "heard": ("filename", *Heard._fields),
}


class Planned(NamedTuple):
    """A clip to be made: its folder, its name in there, what it is of, and its label (None: all that is heard)."""

    folder: str
    name: str
    scene: Scene
    label: str | None


@dataclass(frozen=True)
class Plan:
    """What is made in each of the places that a fold is dealt into; `length` in samples."""

    scenes: Mapping[str, Scene]
    places: int
    per_scene: int
    mixtures: int
    unlabelled: int
    length: int
    sample_rate: int
    seed: int

    def clips(self, place: Place) -> Iterator[Planned]:
        """The clips of a place. The name of an unlabelled one does not say what it is."""
        for label, scene in self.scenes.items():
            for i in range(self.per_scene):
                yield Planned("scenes", f"{label}-{place.name}-{i:03d}", scene, label)
            for i in range(self.unlabelled):
                secret = draw.key(self.seed, place.name, label, i)
                yield Planned("unlabelled", f"{place.name}-{secret:016x}", scene, UNKNOWN)
        for i in range(self.mixtures):
            yield Planned("events", f"{place.name}-{i:03d}", mixture(self.scenes), None)


def compose(
    events: Manifest,
    path: str | Path,
    *,
    scenes: Mapping[str, Scene] = SCENES,
    places: int = 2,
    per_scene: int = 15,
    mixtures: int = 300,
    unlabelled: int = 50,
    seconds: float = 10.0,
    sample_rate: int = 16_000,
    seed: int = 0,
) -> Manifest:
    """Fills the folder `path` with 16-bit mono FLAC, if that was not done yet, and returns its scenes.

    Each fold of `events` is dealt into `places`, each recording to one of them. A place has `per_scene` clips of every
    scene (scenes.csv), `mixtures` that are of no scene, to train an event model on (events.csv: all that is heard,
    textures too; seconds.csv: what each second of them holds), and `unlabelled` clips of every scene without its name
    (unlabelled.csv). A clip's fold is that of all its recordings: whoever tests on a fold of scenes.csv, and learns
    from the other folds of it, of another table or of `events`, has heard no recording of the test; a folder read
    without its table has no folds and tells nothing of that. heard.csv tells for every file what begins and ends where,
    in seconds, how many dB over the background, and from which recording.

    A clip depends on the seed, its place and its name: more clips leave the others as they are. ValueError where
    `events` has no folds, a recording in several, clips with more or less than one label, or too few recordings for
    its places; IntakeError where `path` holds something else, and for sounds that are silent.
    """
    plan = Plan(scenes, places, per_scene, mixtures, unlabelled, round(seconds * sample_rate), sample_rate, seed)
    root, made = Path(path), {**asdict(plan), "events": events.fingerprint(), "version": VERSION}
    once(root / "composed.json", made, lambda: _make(root, events, plan))
    return listing(root / "scenes.csv")


def _make(root: Path, events: Manifest, plan: Plan) -> None:
    rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in HEADERS}
    for place in _places(events, plan):
        for clip in plan.clips(place):
            rng = default_rng(draw.key(plan.seed, place.name, clip.folder, clip.name))
            wave, heard = composed(clip.scene, place, rng, length=plan.length, sample_rate=plan.sample_rate)
            file = Path(clip.folder, f"{clip.name}.flac")
            (root / file).parent.mkdir(parents=True, exist_ok=True)  # a scene may be called cafe/restaurant
            audio.write(root / file, wave[None], sample_rate=plan.sample_rate)
            label = ",".join(sorted({event.label for event in heard})) or NO_EVENT if clip.label is None else clip.label
            rows[clip.folder].append((file.as_posix(), label, place.fold, place.group))
            rows["heard"] += ((file.as_posix(), *event) for event in heard)
            if clip.label is None:
                rows["seconds"] += _by_second(file, place, heard, plan.length // plan.sample_rate)
    for table, header in HEADERS.items():
        with (root / f"{table}.csv").open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerows([header, *sorted(rows[table], key=str)])


def _by_second(file: Path, place: Place, heard: list[Heard], seconds: int) -> Iterator[tuple[object, ...]]:
    """A row for each whole second: what fills half of it, or is heard there for half of its own time. A second in which
    something is heard, and nothing enough, is unknown.
    """
    for start in range(seconds):
        touching = [event for event in heard if event.onset < start + 1 and event.offset > start]
        enough = {each.label for each in touching if held(Event(each.onset, each.offset, ""), start, start + 1, HALF)}
        label = ",".join(sorted(enough)) or (UNKNOWN if touching else NO_EVENT)
        yield file.as_posix(), f"{file.stem}@{start}", label, place.fold, place.group, start, start + 1


def _places(events: Manifest, plan: Plan) -> Iterator[Place]:
    """Each fold's places, one in memory at a time; ValueError if one lacks a label that a scene needs."""
    if not events.folds or any(len(clip.labels) != 1 for clip in events.clips):
        raise ValueError(f"{events.name}: clips of one label each, in folds, were wanted; see Manifest.with_folds")
    if torn := audit.by_recording(events.select(np.array([clip.fold is not None for clip in events.clips]))):
        said = f"{len(torn)} recordings stand in several folds ({torn[0].shared} for one)"
        raise ValueError(f"{events.name}: {said}, and so would scenes of them; see Manifest.with_folds")
    wanted = sorted(set().union(*(scene.labels for scene in plan.scenes.values())))
    for fold in events.folds:
        part = events.select(np.array([clip.fold == fold for clip in events.clips]))
        home = (
            [clip.fold for clip in part.with_folds(plan.places, plan.seed).clips]
            if plan.places > 1
            else [1] * len(part)
        )
        for number in range(1, plan.places + 1):
            name, clips = f"{fold}-{number}", part.select(np.array(home) == number).clips
            sources = {label: [_source(clip, plan) for clip in clips if clip.labels == (label,)] for label in wanted}
            missing = [label for label in wanted if not sources[label]]
            if missing:
                advice = f"{plan.places} places a fold need as many recordings of each label"
                raise ValueError(f"{events.name}: fold {fold} has too little of {', '.join(missing)}; {advice}")
            slope_db = default_rng(draw.key(plan.seed, name)).uniform(*SLOPES_DB)
            yield Place(name, fold, sources, slope_db)


def _source(clip: Clip, plan: Plan) -> Source:
    wave = audio.read(clip.path, sample_rate=plan.sample_rate, start=clip.start, stop=clip.stop)
    if not wave.any():
        refuse([Problem("refuse", 11, "is digital silence; leave it out", clip.name)])
    return Source(clip.recording, audio.trim_silence(wave, below_db=BELOW_DB)[0].copy())
