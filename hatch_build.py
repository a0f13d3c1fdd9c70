"""A wheel, and a source distribution, carry the page's onnxruntime: it is fetched here where it is not there yet."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FETCH = "src/ossicle/deploy/web/fetch.py"


class WebHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":  # a working copy has `make web`
            runpy.run_path(str(Path(self.root, FETCH)))["fetch"]()
