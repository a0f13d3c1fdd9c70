"""A bundle and new clips -> an update of it whose head knows them, behind a gate, in the other slot. No torch."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import slots
from ossicle.data.manifest import Manifest
from ossicle.deploy import example
from ossicle.deploy.bundle import recognizer
from ossicle.deploy.card import card
from ossicle.deploy.config import (
    CARD,
    EXAMPLE,
    GOLDEN,
    INT8,
    MEMORY,
    MODEL,
    Config,
    answering,
    file_entry,
    open_one,
    opened,
)
from ossicle.deploy.head import Head, head, with_head
from ossicle.deploy.memory import Memory, packed, unpacked
from ossicle.deploy.verify import TOLERANCE, golden, verify
from ossicle.durable import write
from ossicle.field import gate
from ossicle.field.arrivals import arrivals
from ossicle.field.gate import MARGIN, Verdict
from ossicle.field.lessons import Lessons, heard
from ossicle.field.refit import refit
from ossicle.lock import alone_in
from ossicle.words import plural


class AdaptError(ValueError):
    """This bundle cannot be taught; says what to do."""


@dataclass(frozen=True)
class Adapted:
    """What became of an update of the bundle in `folder`: so many `clips` of each class, of which some are `new`, and
    what the gate's `verdict` is. `slot` is the folder that answers now; None where the gate refused it, or where it was
    only tried. `notes` tell what was left out, and what to do again.
    """

    folder: Path
    clips: Mapping[str, int]
    new: tuple[str, ...]
    verdict: Verdict
    slot: Path | None
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the gate accepts it."""
        return self.verdict.ok

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        counts = (f"{plural(n, 'clip')} of {'new ' * (label in self.new)}'{label}'" for label, n in self.clips.items())
        yield f"{'taught' if self.ok else 'heard '}   {', '.join(counts)}, in {self.seconds:.1f} s"
        yield from (f"note     {note}" for note in self.notes)
        yield str(self.verdict)
        if not self.ok:
            yield f"refused, and nothing is changed: {self.verdict.why}"


def adapt(
    bundle: str | Path,
    new: str | Path | Manifest,
    *,
    labels: str | Path | None = None,
    margin: float = MARGIN,
    threads: int | None = None,
    dry_run: bool = False,
) -> Adapted:
    """Refit the head of a bundle to new clips too (see `arrivals`), also of new classes, and let that answer if the
    gate accepts it; what was exported stays as it is. It may cost `margin` of the guard's accuracy; with `dry_run`
    nothing is written. Another update of the bundle that is going on is waited for.

    AdaptError where the bundle remembers nothing to refit by, BundleError, HeadError, LessonError and IntakeError.
    """
    with alone_in(Path(bundle)):
        return _adapt(Path(bundle), new, labels, margin, threads, dry_run)


def _adapt(
    folder: Path,
    new: str | Path | Manifest,
    labels: str | Path | None,
    margin: float,
    threads: int | None,
    dry_run: bool,
) -> Adapted:
    began = time.perf_counter()
    config, files = opened(folder)
    old, wanted, margin = head(files[MODEL]), golden(folder / GOLDEN, files[GOLDEN], config), gate.sensible(margin)
    _same(old, wanted, config.multilabel)
    memory = _memory(config, files, old)
    ears = recognizer(config, files, folder, MODEL, threads or os.cpu_count() or 1)
    lessons = heard(ears, new if isinstance(new, Manifest) else arrivals(new, labels))
    found, verdict = _refitted(old, memory, lessons, config.multilabel, margin)
    slot = None
    notes = lessons.troubles + _outdated(config)
    if verdict.ok and not dry_run:
        told = _story(lessons, verdict)
        slot = _put(
            folder, _updated(config, lessons, told), _contents(files, found, memory, lessons, wanted, config.multilabel)
        )
    return Adapted(folder, lessons.counts(), lessons.new, verdict, slot, time.perf_counter() - began, notes)


def undo(bundle: str | Path) -> Path:
    """Let answer what did before the last update, and give its folder; once more, and the update does. SlotError,
    BundleError.
    """
    with alone_in(Path(bundle)):
        return Path(bundle) / slots.undo(bundle, open_one).live


def _memory(config: Config, files: Mapping[str, bytes], old: Head) -> Memory:
    if MEMORY not in files:
        raise AdaptError(
            f"this bundle has no {MEMORY}, by which its head could be refitted: ossicle export its run again, where "
            "the recordings are that it learned from"
        )
    memory = unpacked(files[MEMORY], len(config.labels))
    if memory.feature.shape[1] != old.weight.shape[1]:
        raise AdaptError(
            f"{MEMORY} has features of {memory.feature.shape[1]}, the head {old.weight.shape[1]}; export again"
        )
    for name, part in (("learn", ~memory.guard), ("judge", memory.guard)):
        if not memory.target[part].any():
            raise AdaptError(f"{MEMORY} has no clips of any class to {name} by; export again")
    return memory


def _same(old: Head, wanted: Mapping[str, np.ndarray], multilabel: bool) -> None:
    """The head that was found must give the golden scores, or it is not what answers."""
    ends = wanted["score"].shape[1], wanted["feature"].shape[-1]
    apart = np.inf
    if old.weight.shape == ends:
        apart = np.abs(old.scores(wanted["feature"], multilabel=multilabel) - wanted["score"]).max()
    if not apart <= TOLERANCE:
        raise AdaptError(
            f"the head in {MODEL} does not give the golden scores ({apart:.1e} apart): export its run again"
        )


def _refitted(old: Head, memory: Memory, lessons: Lessons, multilabel: bool, margin: float) -> tuple[Head, Verdict]:
    """The head that knows the new, and what the gate says of it."""
    learned, guard = memory.where(~memory.guard), memory.where(memory.guard)
    found = gate.within(old, memory, lessons, multilabel=multilabel, margin=margin)

    def without(kept: np.ndarray) -> Head:
        return refit(old, learned, lessons.views.where(kept), multilabel=multilabel)

    checks = [*gate.of_sound(lessons), *gate.of_numbers(found)]
    checks += gate.of_likeness(lessons, guard, without, multilabel=multilabel)
    checks += gate.of_guard(guard, old, found, lessons, multilabel=multilabel, margin=margin)
    return found, Verdict(tuple(checks))


def _outdated(config: Config) -> tuple[str, ...]:
    if "false_alarms" not in config.provenance:
        return ()
    return ("thresholds stay, and what `ossicle tune` promised of them does not hold for another head: tune again",)


def _story(lessons: Lessons, verdict: Verdict) -> dict[str, Any]:
    """What config.json tells of the update."""
    checks = {check.name: {"number": check.number, "limit": check.limit} for check in verdict.checks}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"when": when, "clips": lessons.counts(), "new": list(lessons.new), "gate": checks}


def _updated(config: Config, lessons: Lessons, told: Mapping[str, Any]) -> Config:
    """The bundle's config with the new classes, under the usual thresholds where each class has its own."""
    provenance = {name: value for name, value in config.provenance.items() if name != "false_alarms"}
    provenance["adapted"] = [*provenance.get("adapted", []), told]
    return replace(
        config, labels=lessons.labels, thresholds=config.thresholds_for(lessons.labels), provenance=provenance
    )


def _contents(
    files: Mapping[str, bytes],
    new: Head,
    memory: Memory,
    lessons: Lessons,
    wanted: Mapping[str, np.ndarray],
    multilabel: bool,
) -> dict[str, bytes]:
    """Every file of the update: the models with the new head, its golden scores, and a memory that has the lessons."""
    models = {name: with_head(files[name], new) for name in (MODEL, INT8) if name in files}
    arrays: dict[str, Any] = dict(wanted)
    for own in ("", "int8_"):
        if f"{own}feature" in arrays:
            arrays[f"{own}score"] = new.scores(arrays[f"{own}feature"], multilabel=multilabel).astype(np.float32)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    remembered = memory.widened(len(lessons.labels)).joined(lessons.windows)
    return {**files, **models, GOLDEN: content.getvalue(), MEMORY: packed(remembered)}


def _put(folder: Path, config: Config, contents: Mapping[str, bytes]) -> Path:
    """Write the update into the slot that does not answer, and let it answer once it gives its golden scores."""
    config = replace(config, files={name: file_entry(content) for name, content in sorted(contents.items())})

    def fill(place: Path) -> None:
        written = {**contents, CARD: card(config).encode(), EXAMPLE: Path(example.__file__).read_bytes()}
        for name, content in written.items():
            write(place / name, content)
        config.write(place)
        if not (found := verify(place)).ok:
            raise AdaptError(f"the update was not taken: it {found}")

    return slots.update(folder, fill, live=answering(folder))
