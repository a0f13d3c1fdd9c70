"""The verb that shows a bundle in a browser: serve."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from ossicle.cli.app import DONE, app, shown
from ossicle.options import option


@app.command
def serve(
    bundle: Path, /, *, port: Annotated[int, option("Where to serve it; 0: wherever there is room.")] = 8000
) -> int:
    """A bundle as a web page that hears the microphone and files, for browsers on this machine alone."""
    from ossicle.deploy.serve import Server

    with Server(bundle, port) as server, suppress(KeyboardInterrupt):
        print(f"{shown(bundle)} is at {server.address} until Ctrl-C", flush=True)
        server.serve_forever()
    return DONE
