"""From unlabelled recordings to a small sound recognizer on the device where the sound is.

On a device (no torch):

    import ossicle

    recognizer = ossicle.load("bundle/")             # what `ossicle export` wrote
    recognizer(samples, sample_rate)                 # (T,) or (C, T) -> (K,) probabilities of recognizer.labels
    for event in recognizer.listen("garden.wav"):    # label, start, stop, score
        print(event)

Where a recognizer is made (`pip install "ossicle[train]"`):

    recordings = ossicle.recordings("esc10:PATH")    # a Manifest of Clips: also a folder, a CSV or TSV
    ossicle.fit(ossicle.Recipe(...), "runs/pre")     # `ossicle.recipe.load` reads one from TOML
    model = ossicle.from_pretrained("runs/pre")      # wave (B, C, T) -> feature (B, D)

Every hop between is usable alone: `ossicle.audio` reads sound, `ossicle.data` and `ossicle.datasets` list and deal it,
`ossicle.frontends` make images of it, `ossicle.views` vary them, `ossicle.encoders` turn them into features,
`ossicle.objectives` into losses, `ossicle.evaluate` says what they are worth, and `ossicle.deploy` carries them to a
device. Importing this package is instant: each name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ossicle.audio import read
    from ossicle.data.manifest import Clip, Manifest
    from ossicle.datasets import load as recordings
    from ossicle.deploy.bundle import Recognizer, load
    from ossicle.deploy.export import export
    from ossicle.deploy.stream import Stream
    from ossicle.model import Backbone, Classifier, from_pretrained
    from ossicle.recipe import Recipe
    from ossicle.train import fit

__all__ = [
    "Backbone",
    "Classifier",
    "Clip",
    "Manifest",
    "Recipe",
    "Recognizer",
    "Stream",
    "export",
    "fit",
    "from_pretrained",
    "load",
    "read",
    "recordings",
]

_HOMES = {
    "Backbone": "model",
    "Classifier": "model",
    "Clip": "data.manifest",
    "Manifest": "data.manifest",
    "Recipe": "recipe",
    "Recognizer": "deploy.bundle",
    "Stream": "deploy.stream",
    "export": "deploy.export",
    "fit": "train",
    "from_pretrained": "model",
    "load": "deploy.bundle",
    "read": "audio",
    "recordings": "datasets",
}


def __getattr__(name: str) -> Any:
    """A public name from its home, or a module of this package, imported when it is first asked for."""
    if name in _HOMES:
        found = getattr(import_module(f"ossicle.{_HOMES[name]}"), "load" if name == "recordings" else name)
        return globals().setdefault(name, found)
    try:
        return import_module(f"ossicle.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"ossicle.{name}":
            raise
    raise AttributeError(f"module 'ossicle' has no attribute '{name}'; it offers: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
