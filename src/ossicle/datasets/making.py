"""A folder of sounds that are made rather than recorded: made once, made anew after a stop, other files left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ossicle.data.intake import Problem, refuse


def once(stamp: Path, made: Mapping[str, Any], make: Callable[[], None]) -> None:
    """Calls `make` to fill the folder that `stamp` is in, unless `stamp` says that this was done.

    `made` is what the sounds depend on, as JSON keeps it. A making that was stopped is done again; IntakeError if the
    folder holds sounds made otherwise, or something else.
    """
    root, begun = stamp.parent, stamp.with_name(f"{stamp.name}.begun")
    if stamp.is_file():
        found = json.loads(stamp.read_text(encoding="utf-8"))
        if found != json.loads(json.dumps(made)):
            refuse([Problem("refuse", 69, f"{root} holds sounds made with {found}, not {made}; give another folder")])
    elif root.is_dir() and any(root.iterdir()) and not begun.is_file():
        refuse([Problem("refuse", 69, f"{root} holds other files; give a new folder for the sounds")])
    else:
        root.mkdir(parents=True, exist_ok=True)
        begun.write_text(json.dumps(made), encoding="utf-8")
        make()
        begun.replace(stamp)
