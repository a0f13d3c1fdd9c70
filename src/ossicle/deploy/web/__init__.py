"""A bundle's page: what a browser asks for -> the files that answer it, the same served and written beside a bundle."""

from __future__ import annotations

from pathlib import Path

from ossicle.deploy.config import CONFIG, MODEL, BundleError, answering, opened
from ossicle.deploy.web.fetch import FILES, missing
from ossicle.durable import write
from ossicle.slots import POINTER

PAGE = Path(__file__).parent
INDEX, FOLDER = "index.html", "web"
NAMES = (
    "page.css",
    "page.js",
    "events.js",
    "hearing.js",
    "model.js",
    "resample.js",
    "sound.js",
    "spectrogram.js",
    "stream.js",
    "tap.js",
    "worker.js",
    *(f"ort/{name}" for name in ("LICENSE", *FILES)),
)


class WebError(RuntimeError):
    """There is no page for this bundle."""


def site(bundle: str | Path) -> dict[str, Path]:
    """Every path that the page asks for, relative to its own, -> the file that answers it.

    Raises BundleError where the bundle was changed (see `config.opened`), and WebError where its model takes images
    and where onnxruntime-web's files are not there.
    """
    config, _ = opened(bundle)
    if config.image:
        raise WebError(f"the model of {bundle} takes images, and the page has samples: export without --no-frontend")
    return page() | {name: answering(bundle) / name for name in (CONFIG, MODEL)}


def page() -> dict[str, Path]:
    """The part of a `site` that is the same for every bundle."""
    if missing():
        raise WebError("the page's onnxruntime is not there: run `make web` in ossicle's source, or install its wheel")
    return {name: PAGE / name for name in (INDEX, POINTER)} | {f"{FOLDER}/{name}": PAGE / name for name in NAMES}


def publish(bundle: str | Path) -> Path:
    """Write the page into a bundle's folder, which is then all that a static web server needs; gives the page's path.

    The page asks for the model that the bundle's pointer names (see `slots`), so that it goes along with updates; one
    that is there stays. index.html is written last: where it is, the rest is. Raises as `site` does.
    """
    bundle = Path(bundle)
    own = {name: path for name, path in site(bundle).items() if path.is_relative_to(PAGE)}
    if (bundle / POINTER).exists():
        del own[POINTER]
    for name in sorted(own, key=INDEX.__eq__):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        write(bundle / name, own[name].read_bytes())
    return bundle / INDEX


__all__ = ["BundleError", "WebError", "page", "publish", "site"]
