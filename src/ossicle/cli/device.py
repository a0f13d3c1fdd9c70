"""Verbs that carry a recognizer to a device: export, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from ossicle.cli.app import DONE, STOPPED, app, close, shown
from ossicle.options import UsageError, option


@app.command
def export(
    folder: Path,
    /,
    *,
    out: Annotated[Path, option("The bundle's folder; a bundle in it is replaced.", "--out", "-o")],
    hop: Annotated[float | None, option("Seconds from window to window [default: half a window].")] = None,
    frontend: Annotated[
        bool,
        option(
            "The model takes samples; --no-frontend: images, which firmware works out as frontend.json says.",
            negative="--no-frontend",
        ),
    ] = True,
    int8: Annotated[
        bool | None,
        option("A model of 8 bit too [default: where the run's clips are there].", negative="--no-int8"),
    ] = None,
    web: Annotated[bool, option("A web page in the folder, which any static web server then shows.")] = False,
) -> int:
    """A trained run -> a bundle, samples in and scores out, checked against the model before it is written.

    The model of 8 bit is calibrated on clips that the run learned from. It scores at most a point less than the other
    on the validation clips, for which layers are left in float that cost too much, or it is not written.
    """
    from ossicle.deploy.card import by_int8
    from ossicle.deploy.config import Config
    from ossicle.deploy.web import page, publish
    from ossicle.ship import ship

    if web and not frontend:
        raise UsageError("--web has samples for the model, and --no-frontend a model that takes images: leave out one")
    if web:
        page()  # tells at once where its files are not there
    print(ship(folder, out, hop=hop, frontend=frontend, int8=int8))
    if int8 is not False:
        print(by_int8(Config.read(out)))
    if web:
        close(out, publish(out), next=f"ossicle serve {shown(out)}")
    else:
        close(out, next=f"ossicle listen {shown(out)} FILE")
    return 0


@app.command
def verify(bundle: Path, /) -> int:
    """Does a bundle answer on this machine as the model did where it was trained? Names the first difference.

    Its files are held against their checksums, and its golden clips are heard.
    """
    from ossicle.deploy.verify import verify as hear

    verdict = hear(bundle)
    if not verdict.ok:
        print(f"{shown(bundle)} {verdict}", file=sys.stderr)
        return STOPPED
    print(f"{shown(bundle)} {verdict}")
    close(next=f"ossicle listen {shown(bundle)} FILE")
    return DONE
