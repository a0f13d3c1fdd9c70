"""A run and new recordings -> the run that was taught them, behind the gate, and its bundle in the other slot.

Before anything is learned, new clips are looked at as an update of a bundle is: is there sound in them, and does a head
taught the others tell each? Afterwards both runs answer the clips that the first one held out. What a refused run
learned stays in its folder; no bundle has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ossicle import slots
from ossicle.data.manifest import Manifest
from ossicle.deploy.config import Config, answering
from ossicle.durable import write_json
from ossicle.field.arrivals import arrivals
from ossicle.field.first import First, first
from ossicle.field.gate import MARGIN, Verdict, sensible
from ossicle.field.hearer import Hearer
from ossicle.field.joined import join
from ossicle.field.teach import EPOCHS, Taught, classifier, learn
from ossicle.lock import alone_in
from ossicle.material import Tell, quiet
from ossicle.plain import json_text
from ossicle.run import Run, RunError
from ossicle.ship import provenance, ship
from ossicle.teachers import read
from ossicle.words import plural

TOLD = "taught.json"


@dataclass(frozen=True)
class Renewed:
    """What came of it: the run that was `taught`, None where the clips were refused before; the gate's `verdict`; and
    the `slot` of the bundle that answers now, None where there is no bundle, or nothing new for it.
    """

    taught: Taught | None
    verdict: Verdict
    slot: Path | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the gate accepts it."""
        return self.verdict.ok

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.taught is not None:
            new = self.taught.new
            counts = [f"{plural(n, 'clip')} of {'new ' * (k in new)}'{k}'" for k, n in self.taught.clips.items()]
            counts += [f"{plural(self.taught.unlabelled, 'clip')} without a label"] * bool(self.taught.unlabelled)
            yield f"taught   {', '.join(counts)}, in {self.seconds:.1f} s"
        yield str(self.verdict)
        if not self.ok:
            yield f"refused, and no bundle is changed: {self.verdict.why}"


def renew(
    run: str | Path,
    new: str | Path | Manifest,
    *,
    out: str | Path,
    labels: str | Path | None = None,
    bundle: str | Path | None = None,
    epochs: int = EPOCHS,
    margin: float = MARGIN,
    changes: Mapping[str, Any] | None = None,
    tell: Tell = quiet,
) -> Renewed:
    """Teaches a run (see `teach`), and lets its `bundle` answer by what was learned if the gate accepts that: it may
    cost `margin` of the accuracy on the clips that the run held out or, without any, on some that it learned from.

    Raises what `teach` raises; RunError where the bundle knows classes that the run does not; ExportError.
    """
    began, old, margin = time.monotonic(), classifier(run), sensible(margin)
    joined = join(old, new if isinstance(new, Manifest) else arrivals(new, labels))
    known = first(old, joined)
    if bundle is not None:
        _refuse_another(Path(bundle), known)
    verdict, taught, slot = Verdict(tuple(known.checks())), None, None
    if verdict.ok:
        taught = learn(known, joined, Path(out), margin=margin, epochs=epochs, changes=changes, tell=tell)
        verdict = Verdict((*verdict.checks, *known.after(Hearer(taught.folder), margin)))
        write_json(taught.folder / TOLD, _story(old, taught, verdict))
    if verdict.ok and taught is not None and bundle is not None:
        slot = _exchange(taught.folder, Path(bundle))
    return Renewed(taught, verdict, slot, time.monotonic() - began)


def _refuse_another(bundle: Path, known: First) -> None:
    if not bundle.exists():
        return
    held = Config.read(answering(bundle)).labels
    if strange := [label for label in held if label not in known.ears.labels and label not in known.lessons.labels]:
        raise RunError(
            f"{bundle} knows '{strange[0]}', and {known.run.folder} does not: name the run that it was exported from, "
            "or another bundle"
        )


def _story(known: Run, taught: Taught, verdict: Verdict) -> dict[str, Any]:
    """What taught.json tells: what the run stands on, what it was taught, and what the gate said."""
    stands = {"run": str(known.folder), "sha256": read(known.folder).sha256}
    heard_by = None if taught.pretraining is None else str(taught.pretraining)
    told = {"stands_on": stands, "clips": dict(taught.clips), "new": list(taught.new), "notes": list(taught.notes)}
    told |= {"unlabelled": taught.unlabelled, "pretraining": heard_by, "accepted": verdict.ok}
    return told | {"gate": {check.name: {"number": check.number, "limit": check.limit} for check in verdict.checks}}


def _exchange(run: Path, bundle: Path) -> Path:
    """The folder of the bundle that answers by the run from now on: a slot, where there was a bundle before, fed and
    read as that was. One that answers by it already stays.
    """
    if not bundle.exists():
        ship(run, bundle)
        return bundle
    with alone_in(bundle):
        return _update(run, bundle, answering(bundle))


def _update(run: Path, bundle: Path, live: Path) -> Path:
    was = Config.read(live)
    if was.provenance == json.loads(json_text(provenance(run))):
        return live
    how: dict[str, Any] = {"hop": was.hop / was.sample_rate, "frontend": was.image is None}
    how |= {"int8": None if was.int8 else False, "thresholds": was.thresholds_for(Hearer(run).labels)}

    def fill(place: Path) -> None:
        ship(run, place, **how)

    return slots.update(bundle, fill, live=live)
