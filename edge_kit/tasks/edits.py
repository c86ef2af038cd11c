"""How far one sequence is from another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """The fewest items to insert, remove or replace that make one sequence of the other.

    Source: Levenshtein 1966; the two-row form of Wagner and Fischer 1974.
    """
    row = list(range(len(second) + 1))
    for i, item in enumerate(first, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(second, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (item != other))
    return row[-1]
