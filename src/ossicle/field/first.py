"""What a run makes of new clips before it learns anything: its head refitted to them, and whether they sound right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ossicle.deploy.head import Head
from ossicle.deploy.memory import Memory
from ossicle.field import gate
from ossicle.field.gate import Check
from ossicle.field.hearer import Hearer
from ossicle.field.joined import Joined
from ossicle.field.lessons import Lessons, heard
from ossicle.field.refit import refit
from ossicle.run import Run, RunError
from ossicle.ship import memory


@dataclass(frozen=True, eq=False)
class First:
    """The `run` as it hears: what its bundle would remember, and the `lessons` that new clips are, none perhaps."""

    run: Run
    ears: Hearer
    memory: Memory
    lessons: Lessons

    @property
    def multilabel(self) -> bool:
        return self.ears.config.multilabel

    @property
    def guard(self) -> Memory:
        """Clips to judge by."""
        return self.memory.where(self.memory.guard)

    def head(self, margin: float) -> Head:
        """The head that is begun with, refitted as that of a bundle is."""
        return gate.within(self.ears.head, self.memory, self.lessons, multilabel=self.multilabel, margin=margin)

    def _taught(self, kept: np.ndarray) -> Head:
        learned, views = self.memory.where(~self.memory.guard), self.lessons.views.where(kept)
        return refit(self.ears.head, learned, views, multilabel=self.multilabel)

    def checks(self) -> Iterator[Check]:
        """Is there sound in the new clips, and is each told by what the others teach?"""
        if self.lessons.names:
            yield from gate.of_sound(self.lessons)
            yield from gate.of_likeness(self.lessons, self.guard, self._taught, multilabel=self.multilabel)

    def after(self, ears: Hearer, margin: float) -> Iterator[Check]:
        """Does the taught model still tell the guard's clips? Two models side by side are one with the features of
        both, of which the head of each reads its own.
        """
        odd = sum(int((~value.isfinite()).sum()) for value in ears.classifier.state_dict().values())
        why = f"{odd} numbers of the taught model are not finite: look through the clips, or learn slower"
        yield Check("numbers that are not finite", odd, 0, why if odd else "")
        if odd:
            return
        guard, other = self.guard, remembered(self.run, self.ears, ears)
        rows = [ears.labels.index(label) for label in self.lessons.labels]
        one, two = self.ears.head, ears.head
        old = np.pad(one.weight, ((0, 0), (0, two.weight.shape[1])))
        new = np.pad(two.weight[rows], ((0, 0), (one.weight.shape[1], 0)))
        feature = np.hstack([guard.feature, other.where(other.guard).feature])
        both = Memory(feature, guard.clip, guard.target, guard.guard, guard.part)
        heads = Head(old, one.bias), Head(new, two.bias[rows])
        yield from gate.of_guard(both, *heads, self.lessons, multilabel=self.multilabel, margin=margin)


def first(known: Run, joined: Joined) -> First:
    """A run and what is new to it. RunError where its clips are gone, LessonError where new ones cannot be heard."""
    ears = Hearer(known.folder)
    held = remembered(known, ears, ears)
    return First(known, ears, held, heard(ears, joined.taught) if len(joined.taught) else _nothing(ears, held))


def remembered(known: Run, own: Hearer, ears: Hearer) -> Memory:
    """What `ears` make of the clips that a bundle of the run would remember, those to judge by among them."""
    remember = memory(known.folder, own.classifier)
    if remember is None:
        raise RunError(f"the clips are gone that {known.folder} learned from: put them back, or train anew")
    return remember(ears)


def _nothing(ears: Hearer, held: Memory) -> Lessons:
    """No new clip has a label."""
    none, no = held.where(np.zeros(len(held.target), bool)), np.zeros(0, bool)
    return Lessons((), ears.labels, (), none, none, no, no, ())
