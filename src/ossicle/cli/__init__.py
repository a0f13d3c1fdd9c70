"""ossicle VERB ...: parses, calls one function, prints. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from ossicle import distributed
from ossicle.cli import adapting, device, hearing, learning, reviewing, searching, serving, tuning, using
from ossicle.cli.app import INTERRUPTED, PIPE_CLOSED, REFUSED, STOPPED, app
from ossicle.sentences import sentence

__all__ = [
    "adapting",
    "app",
    "device",
    "hearing",
    "learning",
    "main",
    "reviewing",
    "searching",
    "serving",
    "tuning",
    "using",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status: 0 done, 1 stopped on the way, 2 refused, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if distributed.rank():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the first process prints for all
    try:
        return int(app(arguments, exit_on_error=False, print_error=True) or 0)
    except CycloptsError:
        return REFUSED
    except KeyboardInterrupt as stop:
        print(f"{stop or 'stopped'}: {distributed.command()} {shlex.join(arguments)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer goes there
        return PIPE_CLOSED
    except Exception as error:
        if (told := sentence(error)) is None:
            raise
        if distributed.speaks():
            print(f"error: {told}", file=sys.stderr)
        return STOPPED if type(error).__name__ in ("TrainingError", "LostError") else REFUSED
