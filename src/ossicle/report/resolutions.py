"""The stages of a recipe -> one clip's image at each: a row a variant, a column a stage (Colangelo et al., fig. 1).

The clip is one of the training part, so no test clip is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ossicle import audio, recipe
from ossicle.data.manifest import Clip
from ossicle.recipe import Recipe
from ossicle.report import drawing, figures, naming, sounds
from ossicle.report.found import Found, ReportError
from ossicle.report.naming import Named
from ossicle.report.page import Markup, attempt, figure, grid, plain, tag
from ossicle.spec import Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS, HIGH = 2.3, 1.75  # inches an image


@dataclass(frozen=True)
class Seen:
    """A clip as it is heard in some epochs: an image (F, N), or (F, N, 3), and the seconds that it is of."""

    image: np.ndarray
    seconds: float
    epochs: tuple[int, int]

    @property
    def title(self) -> str:
        """`64 x 128, epochs 1 to 40`."""
        first, last = self.epochs
        when = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        return f"{' x '.join(map(str, self.image.shape[:2]))}, {when}"

    @property
    def told(self) -> str:
        """`64 x 128, epochs 1 to 40, 1.5 s`."""
        return f"{self.title}, {self.seconds:.2g} s"


@dataclass(frozen=True)
class Sheet:
    """One clip, and what the stages of each variant see of it."""

    clip: str
    rows: dict[str, list[Seen]]

    @property
    def caption(self) -> str:
        """How to read it."""
        return (
            f"{self.clip} as each stage sees it: bands x frames, low frequencies at the bottom, time to the right. All "
            "are drawn to one size, so that a coarser image has larger pixels, and each from its own faintest to "
            "loudest."
        )


def planned(path: str | Path) -> Found:
    """A recipe's file, as if it had been followed: one run, or a table with a run for each of its variants."""
    path, read = Path(path), recipe.load(path)
    ways = {str(way.get("name", "")): read.override({"variants": [], **way}) for way in read.variants}
    runs = (_run(path / name / path.stem, way) for name, way in ways.items())
    return Found(path, "table", runs=tuple(runs)) if ways else _run(path, read)


def _run(folder: Path, way: Recipe) -> Found:
    return Found(folder, "run", {"recipe": recipe.to_dict(way)})


def sheet(found: Sequence[Found], clip: str | None = None) -> Sheet:
    """One clip by all stages of these runs, and of the first run of each variant of these tables: the one of this name
    in the first run's training part, or one that is drawn from it. ReportError where there is none, or no recording can
    be read.
    """
    named = dict(_named(found))
    if not named:
        raise ReportError("no run here: give the folder of a run or of a table, or a recipe, recipes/hello.toml say")
    titles, shown = naming.titles(list(named)), clip_of(next(iter(named.values())), clip)
    recipes = {titles[name]: recipe.from_dict(run.json["recipe"]) for name, run in named.items()}
    return Sheet(
        shown.name, {title: [_seen(shown, way, *stage) for stage in heard(way)] for title, way in recipes.items()}
    )


def _named(found: Sequence[Found]) -> Iterator[tuple[Named, Found]]:
    for one in (each for each in found if each.kind in ("run", "table")):
        ways = {"": [one]} if one.kind == "run" else one.variants
        yield from (((one.folder, name), runs[0]) for name, runs in ways.items() if runs[0].get("recipe.stages"))


def heard(followed: Recipe) -> list[tuple[Spec, int, int]]:
    """A recipe's front ends in turn, each with its first and last epoch; stages that hear alike are one."""
    made: list[tuple[Spec, int, int]] = []
    now, before = followed.frontend, 0
    for stage in followed.stages:
        now = stage.frontend or now
        first = made.pop()[1] if made and made[-1][0] == now else before + 1
        before += stage.epochs
        made.append((now, first, before))
    return made


def clip_of(run: Found, name: str | None) -> Clip:
    """The first clip that can be read: of this name, or of the first class, drawn as `few` draws, and then of all."""
    part = sounds.training(run)
    first = [clip for clip in part.few(1).clips if part.classes and part.classes[0] in clip.labels]
    asked = (*first, *part.clips) if name is None else [clip for clip in part.clips if _is_called(clip, name)]
    if not asked:
        raise ReportError(
            f"no clip of {part.name} that is learned from is called {name}; {part.clips[0].name} is one, and those of "
            "a test fold are not shown"
        )
    for clip in asked:
        if _wave(clip, 8000) is not None:
            return clip
    raise ReportError(f"no recording of {part.name} can be read" if name is None else f"{name} cannot be read")


def _is_called(clip: Clip, name: str) -> bool:
    return name in (clip.name, Path(clip.name).name, Path(clip.name).stem)


def _wave(clip: Clip, sample_rate: int) -> np.ndarray | None:
    try:
        return audio.read(clip.path, sample_rate=sample_rate, start=clip.start, stop=clip.stop)
    except audio.AudioError:
        return None


def _seen(clip: Clip, followed: Recipe, spec: Spec, first: int, last: int) -> Seen:
    """As a model would hear the clip's first window."""
    import torch

    from ossicle.frontends import FRONTENDS

    frontend = spec.build(FRONTENDS)
    wave = _wave(clip, frontend.sample_rate)
    assert wave is not None, "it was read before"
    window = audio.fit(wave, round(frontend.seconds * frontend.sample_rate), policy=followed.policy)
    with torch.no_grad():
        image = frontend(torch.from_numpy(np.ascontiguousarray(window))[None])[0, 0].numpy()
    shown = image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0)
    return Seen(shown, _seconds(frontend), (first, last))


def _seconds(frontend: Any) -> float:
    """How much of a clip an image shows: a window, or the frames that were taken of it."""
    whole = getattr(frontend, "of", frontend)
    width = getattr(whole, "width", None)
    return float(whole.seconds if width is None else width * whole.framing.hop / whole.sample_rate)


def shown(found: Found) -> Markup | None:
    """A run's or table's part of the page, where its stages do not hear alike."""
    runs = found.runs or (found,)
    if not any(stage.get("frontend") for run in runs for stage in run.get("recipe.stages", [])):
        return None
    made, sentence = attempt(lambda: sheet([found]))
    if made is None:
        return tag("p", f"No images: {sentence}.", class_="note")
    if all(len(row) == 1 for row in made.rows.values()):
        return None
    rows = (tag("div", tag("h4", name), grid(map(_figure, row), "grid clips")) for name, row in made.rows.items())
    return tag("div", tag("p", made.caption, class_="note"), *rows)


def _figure(one: Seen) -> Markup:
    image = figures.spectrogram(one.image, seconds=one.seconds, ticks=(), axis="band", alt=one.told)
    return figure(image, one.told)


def file(found: Sequence[Found], kind: Literal["svg", "png"], clip: str | None = None) -> bytes:
    """The same as a file of its own. ReportError where there is no run or no such recording can be read."""
    made, sentence = attempt(lambda: sheet(found, clip))
    if made is None:
        raise ReportError(f"there is no clip to show: {sentence}")
    across = max(map(len, made.rows.values()))
    wide, high = ACROSS * across + 0.9, HIGH * len(made.rows) + 0.6
    with drawing.sheet(kind, wide, high) as (whole, files):
        places = whole.subplots(len(made.rows), across, squeeze=False)
        for axes, (name, row) in zip(places, made.rows.items(), strict=True):
            for place, one in zip(axes, row, strict=False):
                _draw(place, one)
            for place in axes[len(row) :]:
                place.set_visible(False)
            axes[0].set_ylabel(plain(name), rotation=0, ha="right", va="center", parse_math=False)
        drawing.caption(whole, made.caption, wide)
    return files[0]


def _draw(axes: Axes, one: Seen) -> None:
    figures.show(axes, one.image, one.seconds)
    axes.set_xticks([0, one.seconds], ["0", f"{one.seconds:.2g} s"])
    axes.set_title(one.title, fontsize=drawing.FONT - 1)
