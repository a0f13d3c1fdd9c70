"""Clips to decide about -> a folder with one page, index.html, and their sounds: it works from the disk, offline."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import audio
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import listing
from ossicle.datasets.scan import NO_EVENT, UNKNOWN
from ossicle.durable import write
from ossicle.report import figures
from ossicle.report.looks import Look
from ossicle.report.page import Markup, document, join, percent, tag

PAGE, SOUNDS = "index.html", "sounds"
LONGEST = 30.0
"""Seconds of a clip that can be heard and seen."""
HIGHEST = 48_000
SCRIPT, STYLE = (Path(__file__).with_name(f"review.{ending}") for ending in ("js", "css"))
KEYS = {
    "space": "play",
    "↑ ↓": "move",
    "1 2 3 ...": "choose, and move on",
    "n": "another label",
    "u": "can't tell",
    "Backspace": "take it back",
}


class PageError(ValueError):
    """A page that cannot be written there; the message says why and what to do."""


@dataclass(frozen=True)
class Card:
    """A clip to decide about, what it probably is with the share of belief, likeliest first, and why it is here."""

    clip: Clip
    likely: tuple[tuple[str, float], ...]
    why: str

    @property
    def given(self) -> str:
        """The labels that it has, in words."""
        return ", ".join(self.clip.labels) or ("nothing" if self.clip.no_event else "unknown")

    @property
    def where(self) -> str:
        """Its file and, of a part of one, the seconds."""
        start, stop = self.clip.start, self.clip.stop
        if stop is None:
            return f"{self.clip.name} from {start:.2f} s on" if start else self.clip.name
        return f"{self.clip.name}, {start:.2f} to {stop:.2f} s"


def publish(
    folder: Path,
    whole: Manifest,
    doubts: Sequence[Card],
    suggestions: Sequence[Card],
    *,
    look: Look,
    notes: Sequence[str],
) -> Path:
    """Writes the page and its sounds to `folder`, in place of an earlier page there; returns the page's path.

    `whole` are all labelled clips: with what is decided they make up the table that the page hands back. Clips whose
    sound cannot be read any more are left out. PageError where the folder holds anything else.
    """
    _refuse_strangers(folder)
    shutil.rmtree(folder / SOUNDS, ignore_errors=True)
    (folder / SOUNDS).mkdir(parents=True)
    groups = [
        [shown for card in cards if (shown := _shown(card, whole, folder, look))] for cards in (doubts, suggestions)
    ]
    kept = [card for group in groups for card, _ in group]
    write(folder / PAGE, _page(whole, groups, _table(whole, kept), notes).encode())
    return folder / PAGE


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise PageError(f"{folder} is a file, and a page to review is a folder: choose another name (--out)")
    held = {item.name for item in folder.iterdir()} if folder.exists() else set()
    if strange := sorted(held - {PAGE, SOUNDS}):
        raise PageError(f"{folder} holds {strange[0]}, which is no page to review: choose another folder (--out)")


def _shown(card: Card, whole: Manifest, folder: Path, look: Look) -> tuple[Card, Markup] | None:
    """The card as it is drawn, its sound written beside the page; None where that cannot be read."""
    clip, name = card.clip, f"{card.clip.key:016x}.flac"
    stop = clip.start + LONGEST if clip.stop is None else min(clip.stop, clip.start + LONGEST)
    try:
        rate = min(audio.probe(clip.path).sample_rate, HIGHEST)
        wave = audio.read(clip.path, sample_rate=rate, start=clip.start, stop=stop)
        seen = audio.read(clip.path, sample_rate=look.sample_rate, start=clip.start, stop=stop)
    except audio.AudioError:
        return None
    audio.write(folder / SOUNDS / name, wave / max(1.0, float(np.abs(wave).max())), sample_rate=rate)
    picture = figures.thumbnail(look(seen), f"{look.name} of {clip.name}")
    return card, _drawn(card, whole.multilabel, picture, f"{SOUNDS}/{name}")


def _drawn(card: Card, several: bool, picture: Markup, sound: str) -> Markup:
    label = join([tag("small", "labelled "), card.given]) if card.clip.labelled else "not labelled"
    inside = (
        tag(
            "div",
            tag(
                "button",
                picture,
                tag("span", class_="line"),
                type="button",
                class_="picture",
                tabindex="-1",
                aria_label="play",
            ),
            tag("audio", controls="", preload="none", src=sound),
        ),
        tag(
            "div",
            tag("h3", label),
            tag("p", card.why),
            tag("p", card.where, class_="name"),
            tag("div", *_buttons(card, several), class_="choices"),
            tag(
                "form",
                tag(
                    "input", list="classes", aria_label="another label", placeholder="another label", autocomplete="off"
                ),
                tag("button", "Set", type="submit"),
            ),
            tag("p", class_="verdict", aria_live="polite"),
        ),
    )
    return tag("article", *inside, tabindex="0", aria_label=f"{card.given}, {card.where}")


def _choices(card: Card, several: bool) -> list[dict[str, str]]:
    """What its buttons stand for: a whole cell of the table, or a label, which of several is there or is not."""
    own = [{"cell": _cell(card.clip)}] if card.clip.labelled else []
    here = card.clip.labels if several else ()
    labels = dict.fromkeys([*here, *(label for label, _ in card.likely if several or label not in card.clip.labels)])
    none = [{"cell": NO_EVENT}] if several and not card.clip.no_event else []
    return [*own, *({"label": label} for label in labels), *none, {"cell": UNKNOWN}]


def _buttons(card: Card, several: bool) -> list[Markup]:
    likely, made = dict(card.likely), []
    for number, choice in enumerate(_choices(card, several), 1):
        label, share = choice.get("label"), None
        if label is not None:
            name, share = label, likely.get(label)
        elif choice["cell"] == UNKNOWN:
            name = "can't tell"
        else:
            name = "nothing of these" if choice["cell"] == NO_EVENT and not card.clip.no_event else f"keep {card.given}"
        small = None if share is None else tag("small", percent(share, 0))
        made.append(
            tag("button", tag("kbd", number) if number < 10 else None, name, small, type="button", aria_pressed="false")
        )
    return made


def _cell(clip: Clip) -> str:
    return ",".join(clip.labels) or (NO_EVENT if clip.no_event else UNKNOWN)


def _table(whole: Manifest, kept: Sequence[Card]) -> dict[str, Any]:
    """What the page needs to hand all labels back."""
    header, *rows = listing.rows(whole)
    new = [card.clip for card in kept if not card.clip.labelled]
    _, *added = listing.rows(Manifest(whole.name, tuple(new), whole.classes, whole.folds, whole.multilabel))
    return {
        "key": whole.fingerprint(),
        "several": whole.multilabel,
        "nothing": NO_EVENT if whole.multilabel else UNKNOWN,
        "header": header,
        "column": header.index("labels" if whole.multilabel else "label"),
        "rows": [[f"{clip.key:x}", *row] for clip, row in zip(whole.clips, rows, strict=True)],
        "added": [[f"{clip.key:x}", *row] for clip, row in zip(new, added, strict=True)],
        "cards": [
            {"id": f"{card.clip.key:x}", "given": _cell(card.clip), "choices": _choices(card, whole.multilabel)}
            for card in kept
        ],
    }


def _page(
    whole: Manifest, groups: Sequence[Sequence[tuple[Card, Markup]]], table: dict[str, Any], notes: Sequence[str]
) -> str:
    script = SCRIPT.read_text(encoding="utf-8")
    sections = [_section(name, said, group) for (name, said), group in zip(SECTIONS, groups, strict=True)]
    classes = tag("datalist", *(tag("option", value=label) for label in whole.classes), id="classes")
    return document(
        f"Review of {whole.name}",
        tag(
            "header",
            tag("h1", "ossicle review"),
            tag("h2", whole.name),
            tag("p", ABOUT, class_="subtitle"),
            *(tag("p", note, class_="problems") for note in notes),
        ),
        tag(
            "div",
            tag("p", role="status", id="status"),
            tag("button", "Download labels", type="button", id="download"),
            class_="bar-top",
        ),
        tag("ul", *(tag("li", tag("kbd", key), f" {what}") for key, what in KEYS.items()), class_="keys"),
        *sections,
        classes,
        tag("script", Markup(_inert(table)), type="application/json", id="table"),
        tag("script", Markup(script)),
        head=(_policy(script), tag("style", Markup(STYLE.read_text(encoding="utf-8")))),
    )


ABOUT = join(
    [
        "Listen, and decide. Decisions stay in this browser until you download them: one table of all labels, the "
        "changed ones among them, which ",
        tag("code", "ossicle train labels.csv"),
        " takes. Nothing leaves this page.",
    ]
)
SECTIONS = (
    ("Labels to check", "Those that clips like them doubt most come first."),
    ("Worth labelling", "Sounds that the labels so far say least about, each unlike the others."),
)


def _section(name: str, said: str, group: Sequence[tuple[Card, Markup]]) -> Markup | None:
    if not group:
        return None
    return tag("section", tag("header", tag("h2", name), tag("p", said, class_="note")), *(drawn for _, drawn in group))


def _inert(value: Any) -> str:
    """JSON that ends no script element."""
    return json.dumps(value).replace("<", "\\u003c")


def _policy(script: str) -> Markup:
    """The page runs its own script and fetches its own sounds, nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:"
    said = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return tag("meta", http_equiv="Content-Security-Policy", content=said)
