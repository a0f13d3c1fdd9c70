"""Text and parts -> one HTML page that fetches nothing. What is not Markup is escaped where it enters."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("page.css")
_VOID = ("img", "meta", "br", "col")


class Markup(str):
    """HTML that stands as it is."""


def plain(value: Any) -> str:
    """Anything as text that can be shown: controls, turns of direction and broken UTF-8 as `\\n`, `\\u202e`."""
    return "".join(c if c.isprintable() or c == "\u00a0" else c.encode("unicode_escape").decode() for c in str(value))


def text(value: Any) -> Markup:
    """Anything as text, escaped; Markup as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(plain(value)))


def tag(name: str, /, *inside: Any, **attributes: Any) -> Markup:
    """An element. `class_` is class, `aria_label` aria-label; attributes that are None are left out."""
    named = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    start = " ".join([name, *(f'{key}="{text(value)}"' for key, value in named)])
    return Markup(f"<{start}>" if name in _VOID else f"<{start}>{join(inside)}</{name}>")


def join(parts: Iterable[Any], between: str = "") -> Markup:
    """Parts one after the other; None is nothing."""
    return Markup(between.join(text(part) for part in parts if part is not None))


def lines(value: str) -> Markup:
    """Text of several lines, as it is laid out."""
    return tag("pre", tag("code", Markup("\n".join(text(line) for line in value.splitlines()))), tabindex="0")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, label: str, kind: str | None = None) -> Markup:
    """A table in a box that scrolls. The first cell of a row is its heading; a cell may be a whole td element."""
    body = (
        tag("tr", tag("th", tag("span", first), scope="row"), *(_cell(cell) for cell in rest)) for first, *rest in rows
    )
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", *(tag("th", each, scope="col") for each in head))), tag("tbody", *body)),
        class_=f"scroll {kind or ''}".strip(),
        role="region",
        aria_label=label,
        tabindex="0",
    )


def _cell(value: Any) -> Markup:
    return value if isinstance(value, Markup) and value.startswith("<td") else tag("td", value)


def pairs(values: Mapping[str, Any], kind: str | None = None) -> Markup | None:
    """Names and what they are; what is None is left out."""
    kept = [tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items() if value is not None]
    return tag("dl", *kept, class_=kind) if kept else None


def figure(picture: Any, caption: Any = None, *, kind: str | None = None) -> Markup:
    """A picture and what it shows."""
    return tag("figure", picture, None if caption is None else tag("figcaption", caption), class_=kind)


def grid(parts: Iterable[Any], kind: str = "grid") -> Markup:
    """Parts side by side where there is room, one below the other where there is not."""
    return tag("div", *parts, class_=kind)


def part(title: Any, *inside: Any, note: Any = None) -> Markup | None:
    """A titled part of a section; None without content."""
    if all(each is None or each == "" for each in inside):
        return None
    return tag("div", tag("h3", title), None if note is None else tag("p", note, class_="note"), *inside, class_="part")


def folded(title: Any, *inside: Any, open_: bool = False) -> Markup:
    """What is there for who wants it."""
    return tag("details", tag("summary", title), *inside, open="" if open_ else None)


def document(title: str, *inside: Any, head: Iterable[Markup] = ()) -> str:
    """The whole page, ready to be written as UTF-8; `head` is what it has in its head besides."""
    usual = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    whole = tag("html", tag("head", *usual, *head), tag("body", tag("main", *inside)), lang="en")
    return f"<!DOCTYPE html>\n{_numbered(whole)}\n"


def _numbered(whole: str) -> str:
    """The page with the ids within each figure made that figure's own: alike figures name their parts alike."""
    number = itertools.count(1)

    def own(found: re.Match[str]) -> str:
        return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>f{next(number)}-", found[0])

    return re.sub(r"<svg .*?</svg>", own, whole, flags=re.DOTALL)


def percent(share: float | None, digits: int = 1) -> str | None:
    """0.8125 -> `81.2 %`, with a space that does not break."""
    return None if share is None else f"{100 * share:.{digits}f}\u00a0%"


def quantity(value: float | None, unit: str = "") -> str | None:
    """1234567 -> `1.23 M`: three digits and a thousands' letter."""
    if value is None:
        return None
    step = next((n for n, size in enumerate((999.5, 999.5e3, 999.5e6, 999.5e9)) if abs(value) < size), 4)
    small = value / 1000**step
    digits = 0 if not step and float(value).is_integer() else max(0, 3 - len(str(round(abs(small)))))
    return f"{small:.{digits}f}\u00a0{('', 'k', 'M', 'G', 'T')[step]}{unit}".rstrip("\u00a0")


def duration(seconds: float | None) -> str | None:
    """Seconds as people say them: `13 µs`, `1.3 ms`, `41 s`, `12 min 5 s`, `3 h 20 min`."""
    if seconds is None:
        return None
    if seconds < 1:
        return f"{1e6 * seconds:.3g}\u00a0µs" if seconds < 1e-3 else f"{1000 * seconds:.3g}\u00a0ms"
    if seconds < 60:
        return f"{seconds:.3g}\u00a0s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}\u00a0min {whole % 60}\u00a0s"
    return f"{whole // 3600}\u00a0h {whole % 3600 // 60}\u00a0min"


def attempt(make: Callable[[], Any]) -> tuple[Any, str | None]:
    """What is made, or None and a sentence on why not: recordings move, and disks come and go."""
    try:
        return make(), None
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        return None, str(error).rstrip(".")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        return None, f"something in it is not as expected ({type(error).__name__}: {error})"
