"""A Size -> text for people: layer by layer, network and front end apart, and whether it fits a small device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ossicle.size import MOST_BYTES, MOST_MULTIPLY_ADDS, Row, Size
from ossicle.spec import to_dict

HEAD = ("layer", "kind", "makes", "parameters", "multiply-adds", "ms")
WORDS = 3  # columns of words stand left, those of numbers right


def text(found: Size) -> str:
    """What `ossicle size` prints of a model that hears: rates are by the second of windows side by side."""
    rows = [HEAD, *map(_cells, found.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    totals = [f"{name:13}{said}" for name, said in _totals(found)]
    return "\n".join([*(_line(row, widths) for row in rows), *totals, verdict(found)])


def verdict(found: Size) -> str:
    """`fits 128 kB / 30 MMACs: yes`, or `no` and what it takes: of weights at 8 bit, and of a second of sound."""
    asked = f"fits {MOST_BYTES / 1e3:.0f} kB / {MOST_MULTIPLY_ADDS / 1e6:.0f} MMACs"
    if found.fits:
        return f"{asked}: yes"
    return f"{asked}: no: {_kb(found.weights)}, {_rate(found, found.multiply_adds)}"


def plain(found: Size) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    told = {name: getattr(found, name) for name in ("multiply_adds", "frontend_multiply_adds", "fits")}
    return to_dict(found) | told | {"times_real_time": found.latency.times_real_time}


def onward(found: Size, folder: str) -> str:
    """What can be done next with what is in the folder."""
    if found.peak_bytes is None:
        return f"listen {folder} FILE"
    if found.rows[-1].name == "head":
        return f"export {folder} -o bundle/"
    return f"train LABELLED --from {folder} -o runs/rec"


def _cells(row: Row) -> tuple[str, ...]:
    made = " x ".join(map(str, row.output[1:])) or "-"
    taken = "-" if row.seconds is None else _ms(row.seconds)
    return row.name, row.kind, made, _number(row.parameters), _number(row.multiply_adds), taken


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = zip(cells, widths, strict=True)
    return "  ".join(f"{cell:<{w}}" if n < WORDS else f"{cell:>{w}}" for n, (cell, w) in enumerate(padded))


def _totals(found: Size) -> Iterator[tuple[str, str]]:
    yield "network", _spent(found, found.multiply_adds, ears=False)
    yield "front end", _ears(found)
    yield "parameters", _number(found.parameters)
    kept = f"{_number(found.weights)} with biases, batch normalization folded"
    yield "weights", f"{_kb(found.weights)} at 8 bit, {_kb(4 * found.weights)} at float32 ({kept})"
    if found.peak_bytes is not None and found.network_peak_bytes is not None:
        yield "activations", f"{_kb(found.peak_bytes)} at most, {_kb(found.network_peak_bytes)} of the network alone"
    latency, speed = found.latency, found.latency.times_real_time
    times = f"median {_ms(latency.median)} ms, slow {_ms(latency.slow)} ms, first {_ms(latency.first)} ms"
    yield "latency", f"{times}: {speed or 0:.0f} times real time, one thread of this machine"
    if found.files:
        yield "files", ", ".join(f"{name} {_kb(size)}" for name, size in found.files.items())


def _ears(found: Size) -> str:
    ears = found.frontend_multiply_adds
    if ears is None:
        return "not told apart in this graph, counted with the network"
    return _spent(found, ears, ears=True)


def _spent(found: Size, work: int, *, ears: bool) -> str:
    """`2.6 MMACs a second of sound: 26,112,345 in 10 s, 12.30 ms`; the front end's time is that of another form."""
    taken = [row.seconds for row in found.rows if row.frontend == ears and row.seconds is not None]
    time = f", {_ms(sum(taken))} ms" if taken else ""
    how = (" as exported", " by a fast Fourier transform") if taken and ears else ("", "")
    said = f"{_number(work)} in {found.latency.heard or 0:g} s{how[0]}{time}{how[1]}"
    return f"{_rate(found, work)} a second of sound: {said}"


def _rate(found: Size, work: int) -> str:
    return f"{work / (found.latency.heard or 1.0) / 1e6:.1f} MMACs"


def _number(value: int) -> str:
    return f"{value:,}"


def _kb(size: int) -> str:
    return f"{size / 1e3:,.1f} kB"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f}"
