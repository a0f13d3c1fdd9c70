"""The verb that finds: search, moments like an example in hours of sound."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ossicle.cli.app import DONE, STOPPED, app
from ossicle.options import UsageError, option


@app.command
def search(
    folder: Path,
    /,
    *sources: Annotated[Path, Parameter(help="FILE or DIR to search in.")],
    like: Annotated[tuple[Path, ...], option("A sound to find the like of; give several.")],
    start: Annotated[float, option("Of --like: the second where its sound begins.", "--from")] = 0.0,
    stop: Annotated[float | None, option("Of --like: the second where it ends.", "--to")] = None,
    top: Annotated[int, option("How many moments.")] = 10,
    hop: Annotated[float | None, option("Seconds from window to window [default: half a window].")] = None,
    format: Annotated[
        Literal["jsonl", "csv", "text", "audacity", "raven"], option("How moments are written.")
    ] = "jsonl",
    out: Annotated[Path | None, option("A file for the moments [default: they are printed].", "--out", "-o")] = None,
    zone: Annotated[str | None, option("Time zone of recordings that name none: Europe/Berlin, +02:00.")] = None,
    clips: Annotated[Path | None, option("A folder for the moments as sound, to check them.")] = None,
    int8: Annotated[bool, option("By the bundle's model of 8 bit.")] = False,
    threads: Annotated[int, option("CPU threads to use.")] = 1,
) -> int:
    """Moments in FILE..., and in all sound below DIR, that sound like an example to a bundle or a run; best first.

    What was heard is kept in the cache, by content, so that the next search of the same sound takes moments.
    """
    from ossicle.deploy import when
    from ossicle.deploy.formats import named
    from ossicle.deploy.listen import to_errors
    from ossicle.durable import write
    from ossicle.field import search as field

    if not sources:
        raise UsageError("nothing to search in: give files or folders")
    tz, told = None if zone is None else when.zone(zone), list[str]()

    def report(line: str) -> None:
        told.append(line)
        to_errors(line)

    recognizer = field.opened(folder, hop=hop, int8=int8, threads=threads)
    ways: dict[str, Any] = {"start": start, "stop": stop, "top": top, "zone": tz, "report": report}
    found = field.search(recognizer, like, sources, **ways)
    lines = found.lines(named(format))
    if out is None:
        print("\n".join(lines))
    else:
        write(out, ("\n".join(lines) + "\n").encode())
    if clips is not None:
        found.save(clips, report)
    print(found, file=sys.stderr)
    return STOPPED if told else DONE
