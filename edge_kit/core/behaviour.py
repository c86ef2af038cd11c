"""How what a user did becomes a network's input: the last items he took, and the one he may take next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array

ITEMS, CATEGORIES, LENGTHS = "items", "categories", "lengths"
TARGET, TARGET_CATEGORY = "target", "target_category"
INPUTS = (ITEMS, CATEGORIES, LENGTHS, TARGET, TARGET_CATEGORY)


class Behaviour(NamedTuple):
    """One user before one item: numbers of items, oldest first, of their categories, and both of the next item."""

    items: tuple[int, ...]
    categories: tuple[int, ...]
    target: int
    target_category: int


@dataclass(frozen=True)
class BehaviourPreprocess:
    """Keeps the latest items of a history and fills up to one length.

    Attributes:
        length: Items that the graph takes; earlier ones are cut off.
        known: How many items and categories there are; 0 before a data set told.
    """

    KIND: ClassVar[str] = "behaviour"

    length: int
    known: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")

    def __call__(self, samples: Sequence[Behaviour]) -> dict[str, Array]:
        """Prepare one batch.

        Returns:
            `items` and `categories` (N, length) int64, filled up with 0, `lengths` (N,), and `target` and
            `target_category` (N,).

        Raises:
            BadData: A history is empty, or a number is not one of what is known.
        """
        made = {name: np.zeros((len(samples), self.length), np.int64) for name in (ITEMS, CATEGORIES)}
        made |= {name: np.zeros(len(samples), np.int64) for name in (LENGTHS, TARGET, TARGET_CATEGORY)}
        for i, one in enumerate(samples):
            fault = self.fault(one)
            if fault:
                raise BadData(f"sample {i} {fault}")
            count = min(len(one.items), self.length)
            made[ITEMS][i, :count], made[CATEGORIES][i, :count] = one.items[-count:], one.categories[-count:]
            made[LENGTHS][i], made[TARGET][i], made[TARGET_CATEGORY][i] = count, one.target, one.target_category
        return made

    def fault(self, one: Behaviour) -> str | None:
        """What is wrong with a sample, as a verb and its object; None where nothing is."""
        if not one.items or len(one.items) != len(one.categories):
            return f"holds {len(one.items)} items and {len(one.categories)} categories; it needs one each, at least one"
        for what, numbers, count in zip(
            ("item", "category"),
            ((*one.items, one.target), (*one.categories, one.target_category)),
            self.known,
            strict=True,
        ):
            if not 0 <= min(numbers) <= max(numbers) < count:
                return f"names {what} {max(numbers, key=abs)}; known are 0 to {count - 1}"
        return None

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "length": self.length, "known": list(self.known)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> BehaviourPreprocess:
        """Read back what `as_dict` wrote."""
        items, categories = (int(count) for count in document["known"])
        return cls(int(document["length"]), (items, categories))
