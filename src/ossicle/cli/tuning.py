"""The verb that makes a promise: tune, on a user's own background."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ossicle.cli.app import DONE, app, close, shown
from ossicle.options import UsageError, option

if TYPE_CHECKING:
    pass


@app.command
def tune(
    bundle: Path,
    /,
    *,
    background: Annotated[Path, option("Recordings of the place without events: a folder, or a file.")],
    max_per_hour: Annotated[float, option("False alarms an hour that each class may give.")],
    events: Annotated[Path | None, option("A table of events: filename, onset, offset, event_label.")] = None,
    label: Annotated[tuple[str, ...], option("A class to tune; give several [default: all].")] = (),
    lowest: Annotated[float, option("No threshold is set under this.")] = 0.5,
    draw: Annotated[Path | None, option("A file for the trade-off, .svg or .png.")] = None,
    int8: Annotated[bool, option("Tune for the bundle's model of 8 bit.")] = False,
    threads: Annotated[int, option("CPU threads to use.")] = 1,
) -> int:
    """Sets each class's threshold so that false alarms on your own background stay under a promise.

    The bundle hears the recordings as `listen` would. Events that --events tells of are no false alarms there, and the
    share of them that is found is told; recordings that only it names are heard for that alone.
    """
    if draw is not None and draw.suffix not in (".svg", ".png"):
        raise UsageError(f"--draw {draw}: wanted a file that ends in .svg or .png")
    if draw is not None and find_spec("matplotlib") is None:
        raise UsageError("--draw needs matplotlib: pip install 'ossicle[train]', or leave it out")
    from ossicle.deploy.tune import tune as measure

    how: dict[str, Any] = {"labels": label, "lowest": lowest, "int8": int8, "threads": threads}
    found = measure(bundle, background, max_per_hour=max_per_hour, events=events, **how)
    print(found)
    place = found.write(bundle)
    if draw is not None:
        from ossicle.report import false_alarms

        false_alarms.write(found, draw)
    close(
        *([place] if draw is None else [place, draw]),
        next=f"ossicle listen {shown(bundle)}{' --int8' if int8 else ''} --mic",
    )
    return DONE
