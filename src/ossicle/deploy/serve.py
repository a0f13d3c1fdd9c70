"""A bundle's page on this machine alone: GET of a few fixed files, on the loopback address. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ossicle.deploy.web import INDEX, WebError, site

LOOPBACK = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".json": "application/json",
}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the rest of the policy stands in the page itself
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Serves a bundle's `site` on the loopback address; `port` 0 is any that is free.

    Raises as `site` does, and WebError where the port is taken.
    """

    daemon_threads = True

    def __init__(self, bundle: str | Path, port: int = 0) -> None:
        self.files: Mapping[str, Path] = site(bundle)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "they go up to 65535"
            raise WebError(f"port {port} cannot be had ({why}): give another, or 0 for any") from error

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the page; localhost is where it allows a microphone."""
        return f"http://localhost:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """The names by which a browser may ask: others are pages of strangers whose name points here."""
        return {f"{name}:{self.server_port}" for name in ("localhost", LOOPBACK)}


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "ossicle", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *values: Any) -> None:
        """What a page fetches is nobody's news."""

    def _answer(self, *, body: bool) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        path = self.server.files.get(self.path.partition("?")[0].removeprefix("/") or INDEX)
        if path is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        try:
            content = path.read_bytes()
        except OSError:
            return self.send_error(HTTPStatus.GONE)
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # the page was closed
            self.wfile.write(content if body else b"")
        return None
