"""Speed and memory as ratios in one run: ours against the plain way on the same machine, item by item.

    python benchmarks/speed.py                     # what is not there yet, into benchmarks/results/speed.json and .md
    python benchmarks/speed.py --only logmel       # that item alone
    python benchmarks/speed.py --again             # everything anew

Each item is kept as soon as it is measured, so the whole can be stopped and started at any time. Nothing is asserted:
numbers stand beside what was wanted, with their spread, and a busy machine shows in both.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bank
import contrastive_step
import device
import numpy as np
import record
import scenes_step
import torch
from bench import Bench
from record import Row, interleaved, ratios, row

from ossicle import plan
from ossicle.data.cache import Cache
from ossicle.durable import read_json
from ossicle.frontends import LogMel
from ossicle.recipe import Spec
from ossicle.run import Run
from ossicle.train import fit

COLOR = Spec("bands")  # 3 x 341 x 394
FINE = Spec("logmel", {"sample_rate": 44100, "n_fft": 2048, "hop": 512, "mels": 128})  # 128 x 431
CROPPED = Spec("logmel", {"seconds": 3.0})  # 64 x 130, what `plan` pretrains on
CLIPS = {"ESC-10": 320, "ESC-50": 1600}  # in four training folds


def resnet18(*, frontend: Spec = FINE, batch: int = 32, repeats: int = 7) -> list[Row]:
    """A training step of the network that `plan` takes, against the plain one."""
    bench = Bench(frontend, Spec("resnet", {"depth": 18}), batch)
    taken = interleaved({"plain": bench.plain(), "ours": bench.ours()}, repeats)
    return [bench.row(taken, "ours", f"{bench.precision}, channels last, fused AdamW")]


def resnet50(*, frontend: Spec = COLOR, batch: int = 16, repeats: int = 5) -> list[Row]:
    """The same with a deeper network on color images, and compiled; and whether compiling repays itself."""
    bench = Bench(frontend, Spec("resnet", {"depth": 50}), batch)
    compiled = bench.ours(compiled=True)
    warm_up = sum(interleaved({"compiled": compiled}, 2, warm=0)["compiled"])
    taken = interleaved({"plain": bench.plain(), "ours": bench.ours(), "compiled": compiled}, repeats)
    eager, steady = (sorted(taken[name])[repeats // 2] for name in ("ours", "compiled"))
    return [
        bench.row(taken, "ours", f"{bench.precision}, channels last, fused AdamW"),
        bench.row(taken, "compiled", f"the same and compiled; {repaid(warm_up - 2 * steady, eager - steady)}"),
    ]


def esresnet(*, frontend: Spec = COLOR, batch: int = 16, repeats: int = 3) -> list[Row]:
    """A training step of ESResNet with attention, from samples on, in each precision, eager and compiled."""
    bench = Bench(frontend, Spec("resnet", {"depth": 50, "attention": True}), batch)
    rows, precisions = [], dict.fromkeys(("fp32", bench.precision))
    for bench.precision, compiled in ((precision, compiled) for precision in precisions for compiled in (False, True)):
        step, began = bench.from_samples(compiled=compiled), time.perf_counter()
        warm_up = (step(), step(), time.perf_counter() - began)[-1]
        seconds = interleaved({"step": step}, repeats, warm=0)["step"]
        note = f"its first two steps took {warm_up:.0f} s" if compiled else ""
        what = f"{bench.what} with attention, {bench.precision}{', compiled' * compiled}"
        wanted = "at least 3.92 clips/s, 4 times the published code's 0.98 in fp32"
        rows.append(row(what, wanted, [batch / each for each in seconds], "clips/s", note))
    return rows


def repaid(warm_up: float, saved: float) -> str:
    """Whether the steps that `plan` plans save what compiling costs, both in seconds."""
    if saved <= 0:
        return f"compiling took {warm_up:.0f} s and saves nothing"
    needed = math.ceil(warm_up / saved)
    told = []
    for data, clips in CLIPS.items():
        for epochs, batch in (
            (plan.PRETRAINING_EPOCHS, plan.PRETRAINING_BATCH),
            (plan.FROM_SCRATCH.epochs, plan.BATCH),
        ):
            steps = epochs * math.ceil(clips / batch)
            told.append(f"{data}, {epochs} epochs of {batch}, {steps} steps: {'yes' if steps > needed else 'no'}")
    return f"compiling took {warm_up:.0f} s and is repaid after {needed} steps ({'; '.join(told)})"


def beside(*, frontend: Spec = CROPPED, **sizes: Any) -> list[Row]:
    """What the memory bank adds to a pretraining step."""
    bench = Bench(frontend, Spec("resnet", {"depth": 18}), bank.BATCH)
    step = interleaved({"step": bench.ours()}, 3)["step"]
    return bank.bank(whole=sorted(step)[1], **sizes)


def logmel(*, clips: int = 64, seconds: float = 5.0, repeats: int = 7) -> list[Row]:
    """A batch of log-mel images against librosa's, clip by clip, with the same numbers; on all threads and on one."""
    wanted = "at least 4 times librosa clip by clip"
    what = f"Log-mel of {clips} clips of {seconds:g} s (22.05 kHz, n_fft 2048, win 660, hop 220, 96 mels)"
    if importlib.util.find_spec("librosa") is None:
        return [Row(what, wanted, None, "times", note="librosa is not installed here: pip install librosa")]
    import librosa

    rate, n_fft, win, hop, mels = 22050, 2048, 660, 220, 96
    size: dict[str, Any] = {"n_fft": n_fft, "hop": hop, "win": win, "mels": mels, "f_min": 0.0}
    alike: dict[str, Any] = {"log": "db", "offset": 1e-10, "pad_mode": "constant"}
    frontend = LogMel(sample_rate=rate, seconds=seconds, **size, **alike)
    wave = 0.1 * torch.randn(clips, 1, round(seconds * rate), generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()

    def theirs() -> list[Any]:
        same: dict[str, Any] = {"sr": rate, "n_fft": n_fft, "hop_length": hop, "win_length": win, "n_mels": mels}
        energies = (librosa.feature.melspectrogram(y=clip, **same) for clip in wave[:, 0].numpy())
        return [librosa.power_to_db(energy, ref=1.0, top_db=None) for energy in energies]

    def alone() -> None:
        torch.set_num_threads(1)
        frontend(wave)
        torch.set_num_threads(threads)

    pairs = zip(frontend(wave)[:, 0, 0].numpy(), theirs(), strict=True)
    off = max(float(np.abs(mine - other).max()) for mine, other in pairs)
    taken = interleaved({"librosa": theirs, "ours": lambda: frontend(wave), "alone": alone}, repeats)
    note = f"the two differ by {off:.1e} dB at most"
    return [
        row(f"{what}, {threads} threads", wanted, ratios(taken["librosa"], taken["ours"]), "times", note),
        row(f"{what}, one thread", "", ratios(taken["librosa"], taken["alone"]), "times"),
    ]


def wait(
    *, source: str | None = None, per_class: int = 40, epochs: int = 4, changes: dict[str, Any] | None = None
) -> list[Row]:
    """What a run's own log says of waiting for data: `plan`'s recognizer, and the small CNN with its short steps."""
    encoders = {"ResNet-18": Spec("resnet", {"depth": plan.DEPTH}), "small CNN": Spec("small")}
    rows = []
    with TemporaryDirectory() as place:
        data = Spec("synthetic", {"path": f"{place}/sounds", "per_class": per_class})
        for name, encoder in encoders.items():
            recipe = plan.recognizer(source or f"synthetic:{place}/sounds", seconds=5.0 if source else 2.0)
            recipe = recipe.override({"encoder": encoder, "stages.0.epochs": epochs, "watch": 0, **(changes or {})})
            recipe = recipe if source else recipe.override({"data": data})
            fit(recipe, Path(place, name), cache=Cache(Path(place, "cache")))
            rows.append(waited(Path(place, name), name))
    return rows


def waited(folder: Path, name: str) -> Row:
    """The share of each epoch after the first that a finished run spent waiting for its next batch."""
    sums = [(logged["seconds"], logged["waited"]) for logged in Run.open(folder).rows()]
    shares = [100 * (w - v) / (s - t) for (t, v), (s, w) in pairwise(sums)]
    clips, seconds = (Run.open(folder).result or {})["clips"], sums[-1][0]
    note = f"epochs 2 to {len(sums)} of a run, cache warm; {clips / seconds:.3g} clips a second"
    return row(f"Waiting for data, {name}", "under 5 % of an epoch", shares, "%", note)


ITEMS: dict[str, Callable[..., list[Row]]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "esresnet": esresnet,
    "contrastive": contrastive_step.step,
    "scenes": scenes_step.step,
    "bank": beside,
    "logmel": logmel,
    "wait": wait,
    "small": device.small,
    "help": device.usage,
    "ten_hours": device.ten_hours,
}


def measure(name: str, folder: Path = record.RESULTS, **sizes: Any) -> None:
    """One item, kept."""
    context = {"command": record.command()} | record.surroundings()
    began = time.monotonic()
    rows = ITEMS[name](**sizes)
    record.keep("speed", name, rows, context | {"seconds": round(time.monotonic() - began, 1)}, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=list(ITEMS), default=list(ITEMS), metavar="NAME", help=", ".join(ITEMS)
    )
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    parser.add_argument("--data", help="recordings for `wait`, esc10:PATH say, instead of made-up sounds")
    asked = parser.parse_args()
    place = record.RESULTS / "speed.json"
    done = read_json(place) if place.exists() and not asked.again else {}
    failed = []
    for name in (name for name in asked.only if name not in done):
        print(f"{name} ...", flush=True)
        try:
            measure(name, **({"source": asked.data} if name == "wait" else {}))
        except Exception:  # one item that cannot be measured here keeps no other from it
            traceback.print_exc()
            failed.append(name)
    if place.exists():
        print(place.with_suffix(".md").read_text())
    print(f"not measured: {', '.join(failed)}" if failed else f"wrote {place}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
