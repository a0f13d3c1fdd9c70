"""What the device heard since: a folder of recordings, or a folder and a table of labels -> a Manifest. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Manifest
from ossicle.datasets import load
from ossicle.datasets.folder import folder
from ossicle.datasets.listing import listing


def arrivals(new: str | Path, labels: str | Path | None = None) -> Manifest:
    """New recordings, some of them labelled.

    Without a table, `new` is what `datasets.load` takes: a folder a class, files beside these without a label, or a
    table of its own. With the table `labels`, whose paths are below the folder `new`, that alone tells what is heard:
    folders' names are no labels then, and recordings that it does not name have none. IntakeError where nothing is
    there, or the table is wrong.
    """
    if labels is None:
        return load(new)
    place = Path(new)
    if not place.is_dir():
        refuse([Problem("refuse", 45, f"{new} is no folder; {labels} says what is heard in one: give the folder")])
    known = listing(labels, root=place)
    told = {clip.path.resolve() for clip in known.clips}
    others = [clip for clip in folder(place, labels=False).clips if clip.path.resolve() not in told]
    return replace(known, name=place.resolve().name, clips=(*known.clips, *others))
