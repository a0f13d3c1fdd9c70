"""The README's blocks, executed in the order in which a reader meets them, in one empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ossicle.cli import main

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run:"  # on the line before a block, with the reason


def blocks(text):
    for found in BLOCK.finditer(text):
        before = text[: found.start()].rstrip().rpartition("\n")[2]
        if not before.startswith(NOT_RUN):
            yield found[1], found[2]


def execute(language, block):
    """A Python block as it stands; of a shell block `ossicle` lines in this process (the same code, sooner)."""
    if language == "python":
        exec(compile(block, str(README), "exec"), {"__name__": "__readme__"})
        return
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["ossicle"] and not set(words) & {"|", ">", "<", "&&"}:
            assert main(words[1:]) == 0, line
        elif words:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True, env=os.environ | {"PATH": path})


def test_the_readme_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = list(blocks(README.read_text(encoding="utf-8")))
    assert found
    for language, block in found:
        execute(language, block)


def test_a_block_can_be_left_out_with_a_reason():
    assert list(blocks("<!-- not run: needs a microphone -->\n```sh\nfalse\n```\n```python\n1\n```\n")) == [
        ("python", "1\n")
    ]


@pytest.mark.parametrize("verb", ["data", "pretrain", "train", "evaluate", "export", "listen", "report"])
def test_the_readme_shows_every_verb_of_the_way(verb):
    assert f"ossicle {verb}" in README.read_text(encoding="utf-8")
