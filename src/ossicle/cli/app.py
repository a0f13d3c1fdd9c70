"""The command that verbs belong to, and how each of them ends: with what it wrote and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from cyclopts import App, Parameter

from ossicle import __version__

DONE, STOPPED, REFUSED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit statuses."""

app = App(
    name="ossicle",
    help="From unlabelled recordings to a small sound recognizer on the device where the sound is.",
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def shown(path: Path) -> str:
    """A path as it is typed."""
    return shlex.quote(str(path))


def close(*wrote: Path, next: str) -> None:
    """Prints a verb's last lines."""
    for path in wrote:
        print(f"wrote {shown(path)}")
    print(f"next  {next}")
