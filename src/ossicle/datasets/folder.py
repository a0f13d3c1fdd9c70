"""Folders of recordings -> a Manifest: a folder a class, or sound alone, long recordings cut into clips if asked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets.scan import AUDIO, Scan, no_event


def folder(
    path: str | Path,
    *,
    labels: bool = True,
    segment: float | None = None,
    group: str | None = None,
    links: bool = False,
) -> Manifest:
    """All sound below `path`; the first folder on the way to a file is its label, `A,B` two labels.

    Files in `background`, `noise`, `silence` or `other` hold none of the classes, files beside the folders are
    unlabelled, and `labels=False` makes all so. `segment` cuts recordings into consecutive clips of so many seconds.
    `group` is a regular expression whose first parentheses pick the recording out of a name; without it a file is its
    own. `links` follows links out of the folder. IntakeError if there is nothing.
    """
    root = Path(path)
    scan = Scan(root, links=links)
    clips = [_clip(file, name, labels, group) for file, name in scan]
    if not clips:
        refuse([Problem("refuse", 45, _nothing(root, scan))])
    named = {clip.name.partition("/")[0] for clip in clips if clip.labels and "/" in clip.name}
    several = any("," in name for name in named) or any(clip.no_event for clip in clips)
    if segment is not None:
        clips = [piece for clip in clips for piece in cut(clip, segment)]
    return Manifest.of(root.resolve().name, clips, multilabel=several, notes=[*scan.notes(), *_notes(clips)])


def _nothing(root: Path, scan: Scan) -> str:
    if not root.is_dir():
        return f"looked for sound in {root}, which is no folder; give a folder, a table or kind:path"
    return "; ".join([f"0 files found: looked for {' '.join(AUDIO)} in {root} and below", *scan.notes()])


def _clip(path: Path, name: str, labels: bool, group: str | None) -> Clip:
    top, below, _ = name.partition("/")
    parts = [unicodedata.normalize("NFC", part.strip()) for part in top.split(",")] if below and labels else []
    heard = tuple(dict.fromkeys(part for part in parts if part and not no_event(part)))
    match = re.search(group, name) if group else None
    return Clip(path, name, heard, None, match.group(1) if match else "", no_event=bool(parts) and not heard)


def _notes(clips: list[Clip]) -> Iterator[str]:
    bare = [clip.name for clip in clips if not clip.labelled]
    if 0 < len(bare) < len(clips):
        yield f"{len(bare)} clips lie beside the class folders and count as unlabelled, the first is {bare[0]}"


def cut(clip: Clip, segment: float) -> Iterator[Clip]:
    """A clip as consecutive ones of `segment` seconds; a rest of less than half of one is left on the last.

    A file whose header cannot be read stays whole: decoding it will report it.
    """
    from ossicle import audio

    if segment <= 0:
        raise ValueError(f"segment is {segment} seconds; it must be above 0")
    try:
        stop = audio.probe(clip.path).seconds if clip.stop is None else clip.stop
    except audio.AudioError:
        yield clip
        return
    n = max(1, int((stop - clip.start) / segment + 0.5))
    starts = [clip.start + i * segment for i in range(n)]
    for start, end in zip(starts, [*starts[1:], clip.stop], strict=True):
        yield replace(clip, start=start, stop=end)
