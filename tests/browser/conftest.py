from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ossicle.deploy.serve import Server

from ..deploy.conftest import loudness_model  # noqa: F401
from .chromium import Chromium


@contextmanager
def served(bundle: Path) -> Iterator[str]:
    """The address at which a bundle's page is, for as long as it is."""
    with Server(bundle) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


def ready(browser: Chromium, address: str) -> None:
    """Open the page, and keep every window that it hears in `heard`, and every event in `ended`."""
    browser.go(address)
    browser.until("!document.getElementById('listen').disabled")
    browser.run(
        """window.heard = []; window.ended = [];
        document.addEventListener("ossicle", ({ detail: { window, ended } }) => {
          if (window) heard.push({ ...window, score: [...window.score], wave: [...window.wave] });
          globalThis.ended.push(...ended);
        })"""
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    running = Chromium(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()
