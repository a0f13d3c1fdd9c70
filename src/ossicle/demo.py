"""demo(): the whole way at once. Unlabelled sound -> encoder -> recognizer -> bundle -> events -> page."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import audio, plan
from ossicle.data.manifest import Manifest
from ossicle.datasets import DATASETS
from ossicle.deploy.bundle import Recognizer, load
from ossicle.deploy.events import Event
from ossicle.durable import read_json
from ossicle.material import Tell, divide, quiet
from ossicle.recipe import Recipe, Spec
from ossicle.words import percent

FOLD = 1
FEW = 5
EPOCHS = 40
EVENTS = 12
PAUSE = 0.5  # seconds of the stream between two events
HUSH = 1e-3  # the level of the noise in the pauses
SYNTHETIC = {"per_class": 40, "unlabelled": 200}
SYNTHETIC_EPOCHS = 60
# What tells these sounds apart is their course in time: no crop, no mask, and an encoder that keeps its order.
SYNTHETIC_VIEWS = [Spec("roll"), Spec("noise", {"sigma": plan.NOISE})]
SYNTHETIC_ENCODER = {"name": "small", "reading": "2d", "width": 16}


def demo(out: str | Path, data: str | None = None, *, tell: Tell = quiet) -> str:
    """Does all of it in the folder `out`, on made-up sounds or on `data`, and returns a table of what came of it.

    Runs that are there already are not done again. No run hears the test fold; it is asked about once a run.
    """
    from ossicle.report import report
    from ossicle.ship import ship

    out = Path(out)
    pretraining = _pretraining(out, data)
    results = {"encoder": work(pretraining, out / "encoder", tell)}
    for name, start in (("pretrained", out / "encoder"), ("scratch", None)):
        results[name] = work(_recognizer(pretraining, start), out / name, tell)
    checked = ship(out / "pretrained", out / "bundle", int8=False)
    recognizer = load(out / "bundle")
    test = divide(pretraining.data.build(DATASETS), pretraining, supervised=False).test
    sounded = make_stream(test, recognizer, out / "stream.wav")
    heard = list(recognizer.listen(out / "stream.wav"))
    report([out / name for name in results], out / "report.html")
    return "\n".join([*_scores(results), f"bundle: {checked}", *_events(sounded, heard)])


def _pretraining(out: Path, data: str | None) -> Recipe:
    if data is not None:
        return plan.pretraining(data).override({"split.fold": FOLD})
    made_up = Spec("synthetic", {"path": str(out / "sounds"), **SYNTHETIC})
    views = [Spec("random_resized_crop"), *SYNTHETIC_VIEWS]
    changes = {"views": views, "encoder": SYNTHETIC_ENCODER, "stages.0.epochs": SYNTHETIC_EPOCHS}
    return plan.pretraining(made_up).override({"split.fold": FOLD, **changes})


def _recognizer(pretraining: Recipe, start: Path | None) -> Recipe:
    """From few labels, with pretraining or without, each as `train` would; made-up sounds are learned alike by both."""
    recipe = plan.recognizer(pretraining.data, start=start, fold=FOLD)
    changes = {"frontend": pretraining.frontend, "encoder": pretraining.encoder, "split.fold": FOLD, "split.few": FEW}
    if pretraining.data.name == "synthetic":
        rates = {"stages.0.lr": plan.FROM_SCRATCH.lr, "stages.0.body": plan.FROM_SCRATCH.body}
        changes |= {"views": SYNTHETIC_VIEWS, **rates}
    return recipe.override({**changes, "stages.0.epochs": EPOCHS})


def work(recipe: Recipe, folder: Path, tell: Tell) -> dict[str, Any]:
    """The evaluation of a run on its test fold, after doing what of it is not done yet."""
    from ossicle import evaluate
    from ossicle.train import fit

    tell("note", {"note": f"{folder}: {recipe.objective.name}"})
    fit(recipe, folder, tell=tell)
    done = folder / "evaluation.json"
    return read_json(done) if done.exists() else evaluate.final(folder)


def make_stream(test: Manifest, recognizer: Recognizer, path: Path) -> list[Event]:
    """Writes a WAV in which a clip of each class sounds after the other; returns the events that so are in it."""
    rate = recognizer.sample_rate
    hush = np.random.default_rng(0).normal(0, HUSH, round(PAUSE * rate))
    pieces, sounded, at = [hush], [], PAUSE
    for clip in [clip for clip in test.few(1).clips if clip.labels][:EVENTS]:
        sound = audio.read(clip.path, sample_rate=rate, start=clip.start, stop=clip.stop)[0]
        stop = at + len(sound) / rate
        sounded += [Event(label, at, stop, 1.0) for label in clip.labels]
        pieces += [sound, hush]
        at = stop + PAUSE
    samples = np.clip(np.concatenate(pieces), -1, 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return sounded


def matched(sounded: Sequence[Event], heard: Sequence[Event]) -> tuple[int, int]:
    """How many events were heard under their name while they sounded, and how many were told that did not sound."""
    found = sum(any(_same(one, other) for other in heard) for one in sounded)
    return found, sum(not any(_same(one, other) for one in sounded) for other in heard)


def _same(one: Event, other: Event) -> bool:
    return one.label == other.label and one.start < other.stop and other.start < one.stop


def _scores(results: dict[str, dict[str, Any]]) -> list[str]:
    encoder, pretrained, scratch = results["encoder"], results["pretrained"], results["scratch"]
    probe = percent(encoder["linear_probe"]["accuracy"])
    lines = [
        ("scratch", f"{percent(scratch['accuracy'])} with {FEW} labels a class"),
        ("pretrained", f"{percent(pretrained['accuracy'])} with the same labels"),
        (
            "encoder",
            f"{percent(encoder['accuracy'])} by its nearest neighbors, {probe} by a linear probe, with all labels",
        ),
    ]
    return [f"accuracy on fold {FOLD}, {pretrained['clips']} clips:", *(f"  {name:12}{text}" for name, text in lines)]


def _events(sounded: Sequence[Event], heard: Sequence[Event]) -> list[str]:
    found, strange = matched(sounded, heard)
    return [f"stream: {found} of {len(sounded)} events heard under their name, and {strange} that were not there"]
