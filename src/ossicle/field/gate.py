"""What must hold before an update answers: every check has a number, a limit and, where it fails, a sentence. numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ossicle.deploy.head import Head
from ossicle.deploy.memory import Memory
from ossicle.field.lessons import Lessons
from ossicle.field.refit import SHARES, refit
from ossicle.words import percent

MARGIN = 0.03
"""How much of the guard's accuracy an update may cost; one clip, where a clip is more than that."""
SOUNDLESS = 0.5
"""The share of new clips that may be without sound, or steady noise."""
ALIKE = 0.2
"""How probable the label of a known class's middle clip must be to a head refitted to the others. On validation folds
of ESC-10, five clips a time: at least 0.28 where the labels were right; where they were of all classes, at most 0.16.
"""
APART = 0.4
"""In how many pairs of a new class's clip and one of a known class the first must be more of the new class. On those
validation folds: at least 0.45 for 50 classes that were new, by five clips of as many recordings; at most 0.36 for 100
times five or ten clips of all classes. (0.5, by which half of all known classes under a new name are caught too, cost
honest ones.)
"""
MOVED = 0.1
"""How far the share of the guard's clips that are told as a class may move, away from its true share or beyond it; of a
new one, how large it may be.
"""
FOLDS = 10
"""In so many parts at most new clips are left out to ask about them."""


@dataclass(frozen=True)
class Check:
    """One `number` held to its `limit`, at most that or at `least`; `why` is empty where it is kept, and else says what
    came and what to do.
    """

    name: str
    number: float
    limit: float
    why: str = ""
    least: bool = False

    @property
    def ok(self) -> bool:
        return not self.why

    def __str__(self) -> str:
        said, way = "kept   " if self.ok else "REFUSED", "least" if self.least else "most"
        return f"{said}  {self.name}: {self.number:.3g}, at {way} {self.limit:.3g}"


@dataclass(frozen=True)
class Verdict:
    """Every check of an update."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def why(self) -> str:
        """The sentences of those that are not kept."""
        return "; ".join(check.why for check in self.checks if not check.ok)

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))


def of_sound(lessons: Lessons) -> Iterator[Check]:
    """Is there anything to hear in the new clips?"""
    clips = len(lessons.names)
    for name, which, hint in (
        ("no sound", lessons.silent, "look at the microphone, its gain and its cable"),
        ("steady noise alone", lessons.steady & ~lessons.silent, "nothing happens in it, as in a microphone's hiss"),
    ):
        share = float(which.mean())
        first = lessons.names[int(which.argmax())]
        said = f"{which.sum()} of {clips} new clips are {name}, first {first}: {hint}; leave these out"
        yield Check(f"share of new clips that are {name}", share, SOUNDLESS, said if share > SOUNDLESS else "")


def of_likeness(
    lessons: Lessons, guard: Memory, refitted: Callable[[np.ndarray], Head], *, multilabel: bool
) -> Iterator[Check]:
    """Is each known class's clip told by what it is known by, and each new one's from the `guard`'s clips of every
    known class? `refitted` gives a head that was taught the clips of a mask (m,) alone; each clip is asked about once,
    of one that was not taught it.
    """
    target = lessons.windows.target
    first = target.argmax(1)
    turn = np.array([np.sum(first[:place] == first[place]) for place in range(len(first))]) % FOLDS
    told, beside = np.zeros(target.shape), []
    for part in range(turn.max() + 1):
        head = refitted(turn != part)
        told[turn == part] = lessons.windows.where(turn == part).scores(head, multilabel=multilabel)
        beside.append(guard.scores(head, multilabel=multilabel))
    for number, label in enumerate(lessons.labels):
        mine = told[target[:, number]]
        if len(mine) and label in lessons.new:
            yield _of_newness(lessons, label, mine[:, number], np.mean(beside, 0)[:, number], guard)
        elif len(mine):
            yield _of_known(lessons, label, mine, number)


def _of_newness(lessons: Lessons, label: str, mine: np.ndarray, beside: np.ndarray, guard: Memory) -> Check:
    """In how many pairs a new clip is more of the new class than a clip of a known one is, that most like it."""
    if len(mine) == 1:
        why = f"'{label}' is new and has 1 clip, by which nothing can be judged: give at least 2, better 5"
        return Check(f"clips of '{label}'", 1, 2, why, least=True)
    shares = {}
    for other, known in zip(lessons.labels, guard.target.T, strict=False):
        if known.any():
            over = mine[:, None] - beside[known]
            shares[other] = float((over > 0).mean() + (over == 0).mean() / 2)
    other = min(shares, key=shares.__getitem__)
    why = (
        f"the {len(mine)} new clips of '{label}' do not sound like one another, or like '{other}': to a head taught "
        f"without it, one is more '{label}' than a guard clip of '{other}' in {percent(shares[other])} of the pairs, "
        f"and {percent(APART)} was wanted; look through their labels"
    )
    short = why if shares[other] < APART else ""
    return Check(f"how far '{label}' is from '{other}'", shares[other], APART, short, least=True)


def _of_known(lessons: Lessons, label: str, told: np.ndarray, number: int) -> Check:
    """How probable the label of the class's middle clip is."""
    middle = float(np.median(told[:, number]))
    others = (lessons.labels[k] for k in np.argsort(-told.mean(0)) if k != number)
    beside = f"rather like '{other}'" if (other := next(others, "")) else "and is told as no other class"
    why = (
        f"the {len(told)} new clips of '{label}' do not sound like '{label}' as it is known, {beside}: to "
        f"a head taught without it the middle one is '{label}' with probability {middle:.3f}, and {ALIKE:g} was "
        "wanted; look through their labels"
    )
    short = why if middle < ALIKE else ""
    return Check(f"how much alike clips of '{label}' are", middle, ALIKE, short, least=True)


def sensible(margin: float) -> float:
    """The margin, or ValueError where it is no share."""
    if not 0 <= margin <= 1:
        raise ValueError(f"a margin of {margin}: wanted a share of the guard's accuracy, 0 to 1, as in 0.03")
    return margin


def allowed(guard: Memory, margin: float) -> float:
    """The share of the guard's clips that an update may cost: the margin, or one clip where that is more."""
    return max(margin, 1 / len(guard.target)) + 1e-9


def lost(guard: Memory, old: Head, new: Head, *, multilabel: bool) -> float:
    """The share of the guard's clips (of several labels: of all its decisions) that were told rightly and are no more,
    less that of those that are now.
    """
    return _told(guard, old, multilabel)[0] - _told(guard, new, multilabel)[0]


def of_guard(
    guard: Memory, old: Head, new: Head, lessons: Lessons, *, multilabel: bool, margin: float
) -> Iterator[Check]:
    """Is what was known still told, as often as it was?"""
    (before, rates), (after, moved) = (_told(guard, each, multilabel) for each in (old, new))
    limit = allowed(guard, margin)
    why = (
        f"accuracy on {len(guard.target)} guard clips falls from {percent(before)} to {percent(after)}, and "
        f"{100 * limit:.1f} points are allowed; give more clips, also of the classes that are known"
    )
    yield Check("accuracy lost on the guard", before - after, limit, why if before - after > limit else "")
    rates = np.append(rates, np.zeros(len(moved) - len(rates)))
    truth = guard.widened(len(moved)).target.mean(0)
    ways = np.maximum(np.minimum(rates, truth) - moved, moved - np.maximum(rates, truth)).clip(min=0)
    worst = int(ways.argmax())
    way, label = float(ways[worst]), lessons.labels[worst]
    why = (
        f"'{label}' would be told of {percent(moved[worst])} of the guard's clips, before of {percent(rates[worst])}, "
        f"and {percent(MOVED)} either way are allowed: what was taught sounds like others; look through the labels"
    )
    yield Check(f"how far the rate of '{label}' moves", way, MOVED, why if way > MOVED else "")


def _told(guard: Memory, head: Head, multilabel: bool) -> tuple[float, np.ndarray]:
    """The share of clips that a head tells rightly, and (K,) that which it tells as each class."""
    score, target = guard.scores(head, multilabel=multilabel), guard.widened(len(head.bias)).target
    told = score >= 0.5 if multilabel else score.argmax(1)[:, None] == np.arange(score.shape[1])
    right = told == target if multilabel else told & target
    return float(right.mean() if multilabel else right.any(1).mean()), told.mean(0)


def within(old: Head, memory: Memory, lessons: Lessons, *, multilabel: bool, margin: float) -> Head:
    """The refitted head with the most of what is new at half of the margin, which it may cost the memory's guard."""
    learned, guard = memory.where(~memory.guard), memory.where(memory.guard)
    for share in SHARES if lessons.new else SHARES[:1]:
        found = refit(old, learned, lessons.views, multilabel=multilabel, share=share)
        if lost(guard, old, found, multilabel=multilabel) <= allowed(guard, margin / 2):
            break
    return found


def of_numbers(new: Head) -> Iterator[Check]:
    """Are all numbers of the head finite?"""
    odd = int(sum((~np.isfinite(each)).sum() for each in (new.weight, new.bias)))
    why = f"{odd} numbers of the refitted head are not finite: look through the clips"
    yield Check("numbers that are not finite", odd, 0, why if odd else "")
