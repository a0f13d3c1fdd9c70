"""AudioError: one file that cannot be heard, and why, as a sentence."""

from __future__ import annotations

import os
from typing import Literal

Stage = Literal["open", "decode", "check"]


def shown(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """A path that is safe to print: newlines, escapes and broken UTF-8 are written as `\\n`, `\\x1b`, `\\udcff`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fsdecode(path))


class AudioError(ValueError):
    """A file that cannot be read, or not whole: `path`, `reason` (a sentence) and the `stage` it failed in.

    Stages: "open" (not there, not a file, not audio), "decode" (the decoder gave up), "check" (it decoded to something
    unusable: cut short, not finite, too short).
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, stage: Stage = "decode"):
        super().__init__(f"{shown(path)}: {reason}")
        self.path, self.reason, self.stage = path, reason, stage
