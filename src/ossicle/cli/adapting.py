"""The verb that learns after deployment: adapt, a bundle by its head, without torch, or a run by few epochs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from ossicle.cli.app import DONE, REFUSED, app, close, shown
from ossicle.options import UsageError, given, option


@app.command
def adapt(
    folder: Path,
    /,
    *,
    new: Annotated[Path | None, option("New recordings: a folder a class, or a folder and --labels.")] = None,
    labels: Annotated[Path | None, option("A table that names the files in --new and their labels.")] = None,
    margin: Annotated[float | None, option("The accuracy on the guard that it may cost [default: 0.03].")] = None,
    dry_run: Annotated[bool, option("Of a bundle: what the gate would say; nothing is written.")] = False,
    undo: Annotated[bool, option("Of a bundle: what answered before the last update answers again.")] = False,
    threads: Annotated[int | None, option("Of a bundle: CPU threads to use [default: all].")] = None,
    epochs: Annotated[int | None, option("Of a run: times that every clip is heard.")] = None,
    out: Annotated[Path | None, option("Of a run: the folder of the run that knows both.", "--out", "-o")] = None,
    bundle: Annotated[Path | None, option("Of a run: the bundle to answer by it, in the other slot.")] = None,
) -> int:
    """New clips, of known classes or of new ones, are taught to a bundle (its head, in seconds) or a run (few epochs).

    Of a bundle the update is written beside what answers, and answers if a gate accepts it; --undo takes it back. A run
    learns in another folder, and recordings without a label join the pretraining that it came from.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not there: give the folder of a bundle or of a run")
    if undo:
        others = {"dry_run": dry_run or None, "threads": threads, "epochs": epochs, "out": out, "bundle": bundle}
        return _undo(folder, given(new=new, labels=labels, margin=margin, **others))
    if new is None:
        raise UsageError("nothing to learn from: give --new DIR, a folder of new recordings")
    if (folder / "recipe.json").exists():
        _leave_out("a run", given(dry_run=dry_run or None, threads=threads))
        return _run(folder, new, out, bundle, given(labels=labels, margin=margin, epochs=epochs))
    _leave_out("a bundle", given(epochs=epochs, out=out, bundle=bundle))
    return _bundle(folder, new, labels, dry_run, given(margin=margin, threads=threads))


def _leave_out(what: str, strange: dict[str, Any]) -> None:
    if strange:
        raise UsageError(f"{what} takes no --{next(iter(strange)).replace('_', '-')}: leave it out")


def _undo(bundle: Path, strange: dict[str, Any]) -> int:
    _leave_out("--undo", strange)
    from ossicle.field.adapt import undo

    place = undo(bundle)
    what = "as it was exported" if place == bundle else f"by {shown(place)}"
    print(f"{shown(bundle)} answers {what} again")
    close(next=f"ossicle verify {shown(bundle)}")
    return DONE


def _bundle(bundle: Path, new: Path, labels: Path | None, dry_run: bool, how: dict[str, Any]) -> int:
    from ossicle.field.adapt import adapt

    found = adapt(bundle, new, labels=labels, dry_run=dry_run, **how)
    print(found, file=sys.stdout if found.ok else sys.stderr)
    if not found.ok:
        return REFUSED
    if found.slot is not None:
        close(found.slot, next=f"ossicle listen {shown(bundle)} FILE, or ossicle adapt {shown(bundle)} --undo")
    return DONE


def _run(run: Path, new: Path, out: Path | None, bundle: Path | None, how: dict[str, Any]) -> int:
    if out is None:
        raise UsageError("a run is taught into another: give its folder by --out")
    from ossicle.field.renew import renew
    from ossicle.show import Show

    with Show() as tell:
        found = renew(run, new, out=out, bundle=bundle, tell=tell, **how)
    print(found, file=sys.stdout if found.ok else sys.stderr)
    if not found.ok:
        return REFUSED
    after = f"export {shown(out)} -o bundle/" if bundle is None else f"listen {shown(bundle)} FILE"
    undo = "" if found.slot in (None, bundle) or bundle is None else f", or ossicle adapt {shown(bundle)} --undo"
    close(out, *([found.slot] if found.slot else []), next=f"ossicle {after}{undo}")
    return DONE
