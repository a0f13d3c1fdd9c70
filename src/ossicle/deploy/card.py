"""What a bundle's config says, as sentences for people: its model card, and what 8 bit costs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ossicle.deploy.config import INT8, MODEL, Config


def by_int8(config: Config) -> str:
    """What the model of 8 bit costs in accuracy, and its file's share of the other's."""
    if config.int8 is None:
        return f"no {INT8}: not asked for, or the run's clips are not there, or no layer bears 8 bit"
    told = config.int8
    share = config.files[INT8]["bytes"] / config.files[MODEL]["bytes"]
    left = ", ".join(f"{layer} (alone it moved {_percent(cost)})" for layer, cost in told["left"].items())
    return (
        f"{INT8}: {told['measure']} {_percent(told['score'])} on {told['clips']} {told['part']} clips, in float "
        f"{_percent(told['float_score'])}; {100 * share:.0f} % of the bytes"
        + (f"; left in float: {left}" if left else "")
    )


def card(config: Config) -> str:
    """README.md of a bundle, in Markdown."""
    return "\n\n".join(_parts(config)) + "\n"


def _parts(config: Config) -> Iterator[str]:
    known = config.provenance
    yield f"# {known.get('run', 'A sound recognizer')}"
    yield f"It tells {len(config.labels)} classes of sound{' (several at once)' if config.multilabel else ''}:"
    yield ", ".join(config.labels) + "."
    yield "Of any other sound it tells one of these too, with whatever probability: listen to what it finds."
    yield "## What goes in, what comes out"
    yield "\n".join(_ends(config))
    yield "## What it was made from, and what it is worth"
    yield "\n".join(f"- {line}." for line in _worth(config))
    yield "## Files"
    sizes = [f"| {name} | {entry['bytes']:,} |" for name, entry in sorted(config.files.items())]
    yield "\n".join(["| file | bytes |", "|---|---:|", *sizes])
    yield "## How to use it"
    yield (
        "    python example.py sound.wav        # numpy and onnxruntime alone\n"
        "    ossicle verify .                   # does it answer here as it did where it was trained?\n"
        "    ossicle listen . sound.wav         # events, from files, folders, a pipe or a microphone"
    )


def _ends(config: Config) -> Iterator[str]:
    seconds = f"{config.window / config.sample_rate:g} s ({config.window:,} samples) at {config.sample_rate:,} Hz"
    if config.image:
        yield f"- `image` (B, {', '.join(map(str, config.image))}): of {seconds}, made as frontend.json says."
    else:
        yield f"- `wave` (B, {config.channels}, {config.window}): {seconds}, from -1 to 1."
    yield f"- `score` (B, {len(config.labels)}): probabilities, calibrated where clips had been held out for that."
    yield "- `feature` (B, D): what the head hears."
    yield f"- A window every {config.hop / config.sample_rate:g} s; short clips: {config.policy}."
    yield f"- Thresholds: {', '.join(f'{name} {value}' for name, value in config.thresholds.items())}."


def _worth(config: Config) -> Iterator[str]:
    known = config.provenance
    if data := known.get("data"):
        yield f"Learned from {data['clips']['train']} clips of {data['name']}"
    if (result := known.get("result")) and result.get("pretraining"):
        yield f"Pretraining: {result['pretraining']}"
    valid = (known.get("result") or {}).get("valid") or {}
    found = {name: valid[f"valid_{name}"] for name in ("accuracy", "mAP") if valid.get(f"valid_{name}") is not None}
    if found:
        yield f"On validation clips, which it was calibrated on: {_scores(found)}"
    if test := known.get("evaluation"):
        yield f"On {test['clips']} test clips, opened {test['openings']} time(s): {_scores(test)}"
    if not found and not known.get("evaluation"):
        yield "Nothing says how well it does: no clips were held out, or nobody asked"
    for update in known.get("adapted", []):
        taught = ", ".join(f"{count} of '{label}'" for label, count in update["clips"].items())
        yield f"Taught new clips on {update['when'][:10]} ({taught}); the numbers above are from before that"
    yield by_int8(config)
    yield "Written with " + ", ".join(f"{name} {version}" for name, version in config.versions.items())


def _scores(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_percent(found[name])}" for name in ("accuracy", "mAP") if found.get(name) is not None)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
