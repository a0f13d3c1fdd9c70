"""A protocol-buffer message, as ONNX files are written in: a run of (field number, wire type, value). No dependency."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Value = int | memoryview
"""A whole number, or the bytes of a string or of a message within."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Field number and value, in their order. Raises ValueError or IndexError where it is no message."""
    return ((number, value) for number, value, _ in _spans(message))


def edited(message: memoryview, change: Callable[[int, Value], bytes | None]) -> bytes:
    """The message with some fields' bytes replaced by what `change` makes of their number and value; where that is
    None, a field stays byte for byte as it is.
    """
    parts: list[bytes | memoryview] = []
    start = 0
    for number, value, stop in _spans(message):
        new = change(number, value)
        parts.append(message[start:stop] if new is None else put(number, new))
        start = stop
    return b"".join(parts)


def put(number: int, value: int | bytes) -> bytes:
    """A field as it is written: of a whole number that is not negative, or of bytes."""
    if isinstance(value, int):
        return _put_varint(number << 3) + _put_varint(value)
    return _put_varint(number << 3 | 2) + _put_varint(len(value)) + value


def message(value: Value) -> memoryview:
    """The bytes of a message within, or ValueError."""
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def text(value: Value) -> str:
    """The bytes of a string."""
    return bytes(message(value)).decode("utf-8", "replace")


def _spans(message: memoryview) -> Iterator[tuple[int, Value, int]]:
    """Field number, value, and where the field ends."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value, at
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(message):
            raise ValueError("it ends early")
        yield tag >> 3, message[at : at + size], at + size
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number longer than 64 bits")


def _put_varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes((*made, value))
