"""The exported files against the model that they were made from: each fold's test clips, streamed through the bundle.

    python benchmarks/deployed.py runs/rec -o benchmarks/results/deployed.json

`runs/rec` holds one evaluated run a fold (`ossicle train DATA --folds -o runs/rec`), or is one. Each run's classifier
is exported, and every clip of its test fold goes from its file, at the file's own rate and a tenth of a second at a
time, through the stream, which resamples; a clip's score is the mean of its windows', side by side, as in evaluation.
What the trained model answered stands in the run's predictions.csv. The model of 8 bit goes the same way, and answers
in turns with the other on one thread, window by window. Nothing is chosen by any of this. A run whose weights have not
changed since it was compared is not compared again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import record
from onnx.numpy_helper import to_array

from ossicle import audio, material, recipe
from ossicle.data.manifest import Clip
from ossicle.datasets import DATASETS
from ossicle.deploy.bundle import Recognizer, load
from ossicle.deploy.config import INT8, MODEL
from ossicle.durable import read_json, write, write_json
from ossicle.run import Run, is_run
from ossicle.ship import ship

CHUNK = 0.1  # seconds
TURNS = 40
WANTED = {
    "model.onnx": "within 0.5 point of the trained model's accuracy, same top-1 on at least 99.5 % of clips",
    "model.int8.onnx": "within 1 point of model.onnx and faster, weights under 30 % of its, the file under 40 %",
}


@dataclass(frozen=True)
class Answer:
    """What the trained model said of a clip, as predictions.csv keeps it: truth, top-1, probabilities (K,)."""

    target: str
    top: str
    probability: np.ndarray


def runs(folder: Path) -> list[Path]:
    """The runs of a fold table, or the folder itself where it is one."""
    found = [folder] if is_run(folder) else sorted(path.parent for path in folder.glob("fold*/recipe.json"))
    if not found:
        raise SystemExit(f"{folder} is no run and holds no fold1, fold2, ...: ossicle train DATA --folds -o {folder}")
    return found


def answers(folder: Path) -> dict[tuple[str, float], Answer]:
    """(name, start) -> the trained model's answer."""
    place = folder / "predictions.csv"
    if not place.exists():
        raise SystemExit(f"{folder} was not evaluated: ossicle evaluate {folder}")
    with place.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        _, *rows = csv.reader(file)
    return {
        (name, float(start)): Answer(target, top, np.array(probability, float))
        for name, start, _, _, target, top, _, *probability in rows
    }


def streamed(recognizer: Recognizer, clip: Clip) -> np.ndarray:
    """A clip's file in small chunks -> (K,) probabilities."""
    with audio.Sound(clip.path) as sound:
        stream = recognizer.stream(sound.info.sample_rate, hop=recognizer.config.window)
        cut: dict[str, Any] = {
            "start": clip.start,
            "stop": clip.stop,
            "seconds": CHUNK,
            "channels": recognizer.config.mixing,
        }
        return np.mean([window.score for window in stream.listen(sound.blocks(**cut))], axis=0)


def tested(folder: Path) -> tuple[list[Clip], list[Answer]]:
    """The clips of a run's test fold, and what the trained model said of each."""
    known, run = answers(folder), Run.open(folder)
    followed = recipe.from_dict(run.recipe)
    part = material.divide(followed.data.build(DATASETS), followed, supervised=True).test
    if part.multilabel:
        raise SystemExit(f"{folder} tells several labels a clip; this benchmark compares the single most likely one")
    clips = [clip for clip in part.clips if (clip.name, clip.start) in known]
    if len(clips) != len(known):
        raise SystemExit(f"{folder}: of {len(known)} clips in predictions.csv {len(clips)} are still in the data")
    return clips, [known[clip.name, clip.start] for clip in clips]


def compare(folder: Path) -> dict[str, Any]:
    """One fold: for each file of its bundle, how often it and the model were right, how often they agreed, and how far
    their scores lie apart.
    """
    clips, said = tested(folder)
    with TemporaryDirectory() as place:
        bundle = Path(place, "bundle")
        report = ship(folder, bundle)
        files: dict[str, Any] = {}
        heard = {name: load(bundle, int8=name == INT8) for name in (MODEL, INT8) if (bundle / name).exists()}
        for name, recognizer in heard.items():
            began = time.perf_counter()
            scores = [streamed(recognizer, clip) for clip in clips]
            files[name] = tally(said, scores, recognizer.labels) | {"seconds": time.perf_counter() - began}
            files[name] |= sizes(bundle / name)
        if INT8 in heard:
            files[INT8] |= {"pace": pace(heard, clips[0]), "left": list((heard[INT8].config.int8 or {})["left"])}
    return {"files": files, "check": str(report)}


def sizes(path: Path) -> dict[str, int]:
    """Bytes of a model's file, and of the tensors in it."""
    tensors = [to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return {"bytes": path.stat().st_size, "weights": sum(tensor.nbytes for tensor in tensors)}


def pace(heard: Mapping[str, Recognizer], clip: Clip) -> dict[str, float]:
    """Milliseconds a window takes by each file, in turns, and the median ratio of the second to the first."""
    config = heard[MODEL].config
    wave = audio.read(clip.path, sample_rate=config.sample_rate, channels=config.mixing)
    window = audio.fit(wave[:, : config.window], config.window, policy=config.policy)[None]
    calls = {name: partial(recognizer.scores, window) for name, recognizer in heard.items()}
    taken = record.interleaved(calls, TURNS, warm=5)
    ratio = float(np.median(record.ratios(taken[INT8], taken[MODEL])))
    return {name: 1000 * float(np.median(seconds)) for name, seconds in taken.items()} | {"ratio": ratio}


def tally(said: Iterable[Answer], scores: Iterable[np.ndarray], labels: tuple[str, ...]) -> dict[str, Any]:
    """Counts of clips: in all, right by the model, right by the bundle, same top-1; and the largest difference."""
    count = {"clips": 0, "trained": 0, "exported": 0, "same": 0}
    apart = 0.0
    for answer, score in zip(said, scores, strict=True):
        top = labels[int(score.argmax())]
        count["clips"] += 1
        count["trained"] += answer.top == answer.target
        count["exported"] += top == answer.target
        count["same"] += top == answer.top
        apart = max(apart, float(np.abs(score - answer.probability).max()))
    return count | {"difference": apart}


def summary(folds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One file, all folds' clips together: accuracies and their difference in points, the share of same top-1 in
    percent."""
    folds = list(folds)
    total = {name: sum(fold[name] for fold in folds) for name in ("clips", "trained", "exported", "same")}
    trained, exported, same = (100 * total[name] / total["clips"] for name in ("trained", "exported", "same"))
    found = {"trained": trained, "exported": exported, "points": exported - trained, "same": same}
    return found | {"clips": total["clips"], "difference": max(fold["difference"] for fold in folds)}


def page(whole: Mapping[str, Any]) -> str:
    """A table a file, a line a fold in it and one for all; what 8 bit saves; and how it was measured."""
    lines = [line for file in WANTED for line in table(whole["folds"], file)]
    lines += saved(whole["folds"])
    return "\n".join([*lines, record.setting(whole["measured"]) + "."]) + "\n"


def table(folds: Mapping[str, Any], file: str) -> Iterator[str]:
    """How often a file and the trained model were right, fold by fold."""
    found = {name: fold["files"][file] for name, fold in folds.items() if file in fold["files"]}
    if not found:
        return
    yield f"| {file} | clips | trained % | exported % | difference, points | same top-1 % | largest score difference |"
    yield "|---|---|---|---|---|---|---|"
    for name, rows in ({name: [row] for name, row in found.items()} | {"all": list(found.values())}).items():
        row = summary(rows)
        numbers = f"{row['trained']:.2f} | {row['exported']:.2f} | {row['points']:+.2f} | {row['same']:.2f}"
        yield f"| {name} | {row['clips']} | {numbers} | {row['difference']:.1e} |"
    yield from ("", f"Wanted: {WANTED[file]}.", "")


def saved(folds: Mapping[str, Any]) -> Iterator[str]:
    """What a file of 8 bit has of the other's bytes and milliseconds, fold by fold."""
    both = {name: fold["files"] for name, fold in folds.items() if INT8 in fold["files"]}
    if not both:
        return
    yield "| 8 bit against float | file, kB | % | weights, % | ms a window | times as long | layers left in float |"
    yield "|---|---|---|---|---|---|---|"
    for name, files in both.items():
        whole, small = files[MODEL], files[INT8]
        share = [100 * small[of] / whole[of] for of in ("bytes", "weights")]
        pace = small["pace"]
        sizes = f"{small['bytes'] / 1e3:.0f} of {whole['bytes'] / 1e3:.0f} | {share[0]:.1f} | {share[1]:.1f}"
        paces = f"{pace[INT8]:.2f} against {pace[MODEL]:.2f} | {pace['ratio']:.2f}"
        yield f"| {name} | {sizes} | {paces} | {', '.join(small['left']) or 'none'} |"
    yield ""


def measure(folders: Iterable[Path], out: Path, *, again: bool = False) -> dict[str, Any]:
    """Compares what is not there yet, and writes OUT and its page after each fold."""
    done = read_json(out)["folds"] if out.exists() and not again else {}
    context = {"command": record.command()} | record.surroundings()
    kept: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    for folder in folders:
        name = folder.name
        weights = hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()
        fresh = done.get(name, {}).get("weights") != weights
        kept[name] = (compare(folder) | {"weights": weights}) if fresh else done[name]
        whole = {"wanted": WANTED, "folds": kept, "measured": context}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, whole)
        write(out.with_suffix(".md"), page(whole).encode())
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of a fold table, or one run")
    parser.add_argument("-o", "--out", type=Path, default=record.RESULTS / "deployed.json")
    parser.add_argument("--again", action="store_true", help="compare also what is there already")
    asked = parser.parse_args()
    measure(runs(asked.folder), asked.out, again=asked.again)
    print(asked.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
