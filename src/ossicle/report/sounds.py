"""A run -> log-mel images of clips it got right and wrong, and a map of its features: what needs the recordings.

The recordings are those that the run's recipe names. Test clips are shown only where an evaluation has already asked
about them, so a report opens no test fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ossicle import audio, draw, material, recipe
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import DATASETS
from ossicle.report.found import Answer, Found, ReportError

if TYPE_CHECKING:
    from ossicle.data.cache import Cache

SHOWN = 6
LONGEST = 20.0
MOST = 600
KHZ = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
APART = 0.12  # of the axis, from mark to mark


@dataclass(frozen=True)
class Picture:
    """A clip that was asked about: its log-mel image (F, N), its seconds, and marks of its frequency axis in bins."""

    answer: Answer
    image: np.ndarray
    seconds: float
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Map:
    """(n, 2) places of n clips, their class numbers, whether each was answered rightly, and how they were laid."""

    place: np.ndarray
    kind: np.ndarray
    right: np.ndarray
    classes: tuple[str, ...]
    part: str
    method: str


def manifest_of(run: Found) -> Manifest:
    """The run's clips as its recipe finds them now. ReportError where they are not those that it learned from."""
    followed = recipe.from_dict(run.json["recipe"])
    manifest = followed.data.build(DATASETS)
    if run.get("data.fingerprint") not in (None, manifest.fingerprint()):
        raise ReportError(f"{manifest.name} holds other clips, labels or folds by now than this run learned from")
    return manifest


def choose(answers: Iterable[Answer], shown: int = SHOWN) -> tuple[list[Answer], list[Answer]]:
    """The wrong answers that were surest, and of each class the right one that was surest: at most `shown` of each."""
    ordered = sorted(answers, key=lambda answer: (-answer.sure, answer.name, answer.start))
    wrong = [answer for answer in ordered if answer.correct < 1]
    first: dict[str, Answer] = {}
    for answer in ordered:
        if answer.correct == 1:
            first.setdefault(answer.target, answer)
    return wrong[:shown], list(first.values())[:shown]


def pictures(run: Found, answers: Sequence[Answer]) -> list[Picture]:
    """Images of these clips by the run's own log-mel, or a plain one; clips that cannot be read are left out."""
    clips = {(clip.name, clip.start): clip for clip in manifest_of(run).clips}
    look = _Logmel(run.get("recipe.frontend", {}))
    found = []
    for answer in answers:
        clip = clips.get((answer.name, answer.start))
        wave = None if clip is None else _read(clip, look.sample_rate)
        if wave is not None:
            found.append(Picture(answer, look(wave), wave.shape[1] / look.sample_rate, look.ticks()))
    return found


def _read(clip: Clip, sample_rate: int) -> np.ndarray | None:
    stop = clip.start + LONGEST if clip.stop is None else min(clip.stop, clip.start + LONGEST)
    try:
        return audio.read(clip.path, sample_rate=sample_rate, start=clip.start, stop=stop)
    except audio.AudioError:
        return None


class _Logmel:
    """(1, T) -> (F, N): the log-mel energies that a run hears, or plain ones if it hears by something else."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from ossicle.frontends import FRONTENDS

        rate = {"sample_rate": spec["sample_rate"]} if "sample_rate" in spec else {}
        own = {name: value for name, value in spec.items() if name != "name"} if spec.get("name") == "logmel" else rate
        self.frontend = FRONTENDS["logmel"](**own)
        self.sample_rate = self.frontend.sample_rate
        self.low, self.high = own.get("f_min", 50.0), own.get("f_max") or self.sample_rate / 2
        self.scale, self.shortest = own.get("scale", "slaney"), own.get("n_fft", 1024)

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        import torch

        wave = audio.fit(wave, max(wave.shape[1], self.shortest), policy="zero")
        with torch.no_grad():
            return self.frontend(torch.from_numpy(np.ascontiguousarray(wave))[None])[0, 0, 0].numpy()

    def ticks(self) -> list[tuple[float, str]]:
        import torch

        from ossicle.frontends.logmel import hz_to_mel

        marks = [khz for khz in KHZ if self.low <= 1000 * khz <= self.high]
        mel = hz_to_mel(torch.tensor([self.low, self.high, *(1000 * khz for khz in marks)]), self.scale).numpy()
        share = (mel[2:] - mel[0]) / (mel[1] - mel[0])
        kept: list[tuple[float, str]] = []
        for at, khz in zip(share.tolist(), marks, strict=True):
            if not kept or at - kept[-1][0] > APART:
                kept.append((at, f"{khz:g}"))
        return [(at * (self.frontend.bins + 1) - 0.5, name) for at, name in kept]


def feature_map(run: Found, cache: Cache | None = None) -> Map:
    """Where the run's model puts clips of known class, in two dimensions. ValueError or OSError if that fails."""
    from ossicle.data.cache import Cache
    from ossicle.data.loader import Source, prepare
    from ossicle.evaluate import embed
    from ossicle.model import Classifier, load

    model = load(run.folder)
    backbone = model.backbone if isinstance(model, Classifier) else model
    part, name = _clips(run, manifest_of(run))
    cache = cache or Cache()
    prepared = prepare(part, cache, sample_rate=model.sample_rate, channels=model.channels, max_bad=1.0)
    source = Source(part, cache, model.sample_rate, model.channels, frozenset(prepared.bad))
    feature, heard = embed(backbone, source)
    if heard.sum() < 3:
        raise ReportError("fewer than three clips of known class could be heard")
    missed = {(answer.name, answer.start) for answer in run.answers if answer.correct < 1}
    clips = [clip for clip, kept in zip(part.clips, heard, strict=True) if kept]
    kind = np.array([part.classes.index(clip.labels[0]) for clip in clips])
    right = np.array([(clip.name, clip.start) not in missed for clip in clips])
    place, method = flat(feature[heard])
    return Map(place, kind, right, part.classes, name, method)


def _clips(run: Found, manifest: Manifest) -> tuple[Manifest, str]:
    """The clips to map, at most `MOST`: those that an evaluation asked about, else validation, else training clips."""
    labelled = manifest.select([bool(clip.labels) for clip in manifest.clips])
    asked = {(answer.name, answer.start) for answer in run.answers}
    tested = labelled.select([(clip.name, clip.start) in asked for clip in labelled.clips])
    followed = recipe.from_dict(run.json["recipe"])
    split = replace(followed.split, few=None)
    parts = material.divide(labelled, replace(followed, split=split), supervised=True) if not len(tested) else None
    choices = [(tested, "test")] if parts is None else [(parts.valid, "validation"), (parts.train, "training")]
    part, name = next(((part, name) for part, name in choices if len(part)), (labelled, "training"))
    if not len(part):
        raise ReportError("no clip has a known class")
    if len(part) > MOST:
        part = part.select(np.sort(np.argsort(draw.bits(part.keys(), seed=0, name="map"), kind="stable")[:MOST]))
    return part, name


def flat(feature: np.ndarray) -> tuple[np.ndarray, str]:
    """(n, D) -> (n, 2) and how: t-SNE of directions (van der Maaten and Hinton 2008), PCA for fewer than 20."""
    unit = feature / np.maximum(np.linalg.norm(feature, axis=1, keepdims=True), 1e-12)
    if len(unit) < 20:
        from sklearn.decomposition import PCA

        return PCA(2, random_state=0).fit_transform(unit), "principal components"
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(unit) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(unit), "t-SNE"
