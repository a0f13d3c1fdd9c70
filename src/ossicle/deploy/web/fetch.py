"""onnxruntime-web's files -> web/ort: fetched by npm where ossicle is built, never where it is used. No dependency.

Run by `make web` and by the build of a wheel. A file is kept only if its SHA-256 is the one written here. They run the
model on one thread, and so need no headers that a plain web server does not send.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "onnxruntime-web@1.30.0"
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
PLACE = Path(__file__).parent / "ort"


class FetchError(RuntimeError):
    """The files could not be had, or are not the ones that were asked for."""


def missing(place: Path = PLACE) -> list[str]:
    """The names of FILES that are not in `place`, or are others by that name."""
    return [name for name, sha256 in FILES.items() if not _is((place / name), sha256)]


def fetch(place: Path = PLACE) -> list[str]:
    """Put what is `missing` into `place`, and give its names. Raises FetchError."""
    wanted = missing(place)
    if not wanted:
        return []
    if (npm := shutil.which("npm")) is None:
        raise FetchError(f"npm is needed to fetch {PACKAGE} for the web page: install it, and run this again")
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=scratch, capture_output=True, text=True)
        packed = list(Path(scratch).glob("*.tgz"))
        if done.returncode or not packed:
            raise FetchError(f"npm could not fetch {PACKAGE}: {done.stderr.strip()}")
        _unpack(packed[0], wanted, place)
    return wanted


def _unpack(packed: Path, names: list[str], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(packed) as package:
        for name in names:
            found = package.extractfile(f"package/dist/{name}")
            content = found.read() if found else b""
            if hashlib.sha256(content).hexdigest() != FILES[name]:
                raise FetchError(f"{name} of {PACKAGE} has another SHA-256 than when it was chosen; it is not kept")
            (place / name).write_bytes(content)


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


if __name__ == "__main__":
    print("\n".join(f"wrote {PLACE / name}" for name in fetch()) or "web/ort is whole")
