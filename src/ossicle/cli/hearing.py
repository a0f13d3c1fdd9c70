"""The verb that hears: listen, to files, folders, a pipe and a microphone."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ossicle.cli.app import app, shown
from ossicle.options import UsageError, given, option
from ossicle.words import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ossicle.deploy.output import Output

RATES = 1_000, 1_000_000
"""Hz: what no sound has is a slip of the keys."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Live:
    """Where sound comes from that is no file."""

    rate: Annotated[int | None, option("Of `-` or --mic: its sample rate [default: the model's; the device's].")] = None
    channels: Annotated[int, option("Of `-`: interleaved channels; of --mic: those to record.")] = 1
    encoding: Annotated[Literal["s16le", "f32le"], option("Of `-`: what a sample is.")] = "s16le"
    mic: Annotated[bool, option("Listen to a microphone.")] = False
    device: Annotated[str | None, option("Of --mic: a part of its name [default: the system's].")] = None

    def ways(self) -> dict[str, Any]:
        """What `listen` is to be told of it."""
        from ossicle.deploy.mic import Microphone

        opened = Microphone(self.device, rate=self.rate, channels=self.channels) if self.mic else None
        return {"microphone": opened, "sample_rate": self.rate, "channels": self.channels, "encoding": self.encoding}


@app.command
def listen(
    bundle: Path,
    /,
    *sources: Annotated[str, Parameter(allow_leading_hyphen=True, help="FILE, DIR or -.")],
    format: Annotated[
        Literal["jsonl", "csv", "text", "audacity", "raven"], option("How events are written.")
    ] = "jsonl",
    out: Annotated[
        str | None, option("A file for the events, or DIR/ for one a recording; goes on.", "--out", "-o")
    ] = None,
    on: Annotated[float | None, option("The score from which an event begins.")] = None,
    off: Annotated[float | None, option("The score under which it ends [default: 0.7 of --on].")] = None,
    min_seconds: Annotated[float | None, option("Events shorter than this are left out.")] = None,
    gap_seconds: Annotated[float | None, option("Pauses up to this do not end an event.")] = None,
    zone: Annotated[str | None, option("Time zone of recordings that name none: Europe/Berlin, +02:00.")] = None,
    shard: Annotated[str, option("I/N: of a folder's files, this part of so many.")] = "1/1",
    clips: Annotated[Path | None, option("A folder for each class's best segments, to check them.")] = None,
    clips_each: Annotated[int, option("Of --clips: how many a class.")] = 10,
    live: Live = Live(),
    int8: Annotated[bool, option("By the bundle's model of 8 bit.")] = False,
    threads: Annotated[int, option("CPU threads to use.")] = 1,
) -> int:
    """Events in FILE..., in all sound below DIR, in raw samples from standard input (`-`) or at a microphone (--mic).

    With -o, what was heard before is not heard again.
    """
    from ossicle.deploy import when
    from ossicle.deploy.bundle import load
    from ossicle.deploy.clips import Clips
    from ossicle.deploy.events import OFF
    from ossicle.deploy.listen import Shard, settings
    from ossicle.deploy.listen import listen as hear

    _check(sources, live, clips)
    if format == "audacity" and not out and _several(sources, live):
        raise UsageError("Audacity's labels do not say of which recording they are: give a folder, -o labels/")
    off = OFF * on if off is None and on is not None else off
    thresholds = given(on=on, off=off, min_seconds=min_seconds, gap_seconds=gap_seconds)
    recognizer = load(bundle, threads, int8=int8)
    tz, part, ways = None if zone is None else when.zone(zone), Shard.of(shard), live.ways()
    if clips is not None:
        first = thresholds.get("on", recognizer.config.thresholds["on"])
        keep = {"on": first, "sample_rate": recognizer.sample_rate, "each": clips_each}
        ways["clips"] = Clips(clips, recognizer.labels, **keep)
    how = settings(recognizer, format=format, zone=tz, shard=part, **thresholds)
    output = _output(out, format, how, sources, live)
    try:
        status = hear(recognizer, sources, output, zone=tz, shard=part, **ways, **thresholds)
    finally:
        output.close()
    where = f" in {shown(Path(out))}" if out else ""
    print(f"{plural(output.total, 'event')}{where}{_hint(output, on)}", file=sys.stderr)
    return status


def _hint(output: Output, on: float | None) -> str:
    if output.known:
        return f"; {plural(output.known, 'recording')} heard before, and not again"
    return "" if output.total else f"; --on {0.6 * (on or 0.5):.2g} tells of fainter ones"


def _output(out: str | None, format: str, how: Mapping[str, Any], sources: tuple[str, ...], live: Live) -> Output:
    """Where the events go, and in which format; `how` is what they depend on."""
    from ossicle.deploy import output
    from ossicle.deploy.formats import named
    from ossicle.deploy.listen import PIPE, to_output

    if not out:
        return output.Output(named(format), to_output)
    return output.to(out, named(format), how, live=live.mic or PIPE in sources, several=_several(sources, live))


def _check(sources: tuple[str, ...], live: Live, clips: Path | None) -> None:
    if not sources and not live.mic:
        raise UsageError("nothing to listen to: give files, a folder, - for raw samples from standard input, or --mic")
    if unknown := [source for source in sources if source.startswith("--") and not Path(source).exists()]:
        raise UsageError(f"{unknown[0]} is no option of listen, and no file: ossicle listen --help")
    if live.device and not live.mic:
        raise UsageError("--device names a microphone: add --mic, or leave it out")
    if (live.rate, live.channels, live.encoding) != (None, 1, "s16le") and not live.mic and "-" not in sources:
        raise UsageError("--rate, --channels and --encoding are of - or --mic; a file says of itself what it is")
    if live.rate is not None and not RATES[0] <= live.rate <= RATES[1]:
        raise UsageError(f"a rate of {live.rate} Hz: {RATES[0]} to {RATES[1]} samples a second were wanted")
    within = [source for source in sources if clips and (clips / "-").resolve().is_relative_to(Path(source).resolve())]
    if within:
        raise UsageError(f"--clips lie in {within[0]}, where they would be heard as recordings: give another folder")


def _several(sources: tuple[str, ...], live: Live) -> bool:
    """Whether there may be more than one recording."""
    return len(sources) + live.mic > 1 or any(Path(source).is_dir() for source in sources)
