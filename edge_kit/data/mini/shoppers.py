"""Mini data in the format of Deep Interest Network: shoppers put together by a stated process.

No package that is installed holds logs of this kind, so these are no real shoppers. Each has some interests, which are
categories, and in each of them a style of his own. He takes items of his interests in his style. What he is asked about
next is such an item, or one that he does not take: any item, or one of an interest of his in another style. The latter
can only be told from the items of that very category in his history, which is what attention to the target is for.
Styles stand nowhere: they are to be learned from who takes what.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings

CATEGORIES, STYLES, EACH = 20, 4, 8  # so many items of each style
PER_CATEGORY = STYLES * EACH
ITEMS = CATEGORIES * PER_CATEGORY
FAITHFUL = 0.95  # of what is taken is of the shopper's style
NEAR = 0.5  # of what is not taken is of an interest of his
REPORT_EVERY = 1000


CARD = Card(
    "Generated shoppers in the format of Deep Interest Network",
    "These are no real shoppers and no sample of Amazon Electronics, but made up.",
    (
        f"A shopper has 2 to 4 of {CATEGORIES} categories as interests, a style in each: {FAITHFUL:.0%} of what he "
        "takes fits; half of all lines are of something taken.",
        "Half of what he does not take is of one of his interests in another style, the rest is any item.",
        "paddle_test.txt asks for the last item of each shopper, paddle_train.txt for those before, as published.",
        "AUC on it says that a model learned to look at the part of a history that matters, and nothing of Amazon.",
    ),
    "AUC 50 %",
    "lines",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    folder.mkdir(parents=True, exist_ok=True)
    total = settings.train + settings.evaluation
    train: list[str] = []
    test: list[str] = []
    for shopper in count():
        if len(train) >= settings.train and len(test) >= settings.evaluation:
            break
        *earlier, last = _questions(np.random.default_rng([settings.seed, shopper]))
        train += [line for pair in earlier for line in pair]
        test += last
        if shopper % REPORT_EVERY == 0:
            progress(min(len(train), settings.train), total)
    for name, lines, wanted in (("train", train, settings.train), ("test", test, settings.evaluation)):
        (folder / f"paddle_{name}.txt").write_text("".join(lines[:wanted]), encoding="ascii", newline="\n")
    (folder / "config.txt").write_text(f"{shopper}\n{ITEMS}\n{CATEGORIES}\n", encoding="ascii", newline="\n")
    progress(total, total)


def _questions(rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Of one shopper, for every item from his fifth on: that item, and one that he did not take."""
    interests = rng.choice(CATEGORIES, int(rng.integers(2, 5)), replace=False)
    styles = rng.integers(0, STYLES, len(interests))
    history: list[int] = []
    for i in range(int(rng.integers(8, 20))):
        one = int(rng.integers(len(interests)))
        style = int(styles[one]) if rng.random() < FAITHFUL else int(rng.integers(STYLES))
        taken = _item(int(interests[one]), style, rng)
        if i >= 4:
            if rng.random() < NEAR:
                other = (int(styles[one]) + int(rng.integers(1, STYLES))) % STYLES
                left = _item(int(interests[one]), other, rng)
            else:
                left = int(rng.integers(ITEMS))
            yield _line(history, taken, 1), _line(history, left, 0)
        history.append(taken)


def _item(category: int, style: int, rng: np.random.Generator) -> int:
    return category * PER_CATEGORY + style * EACH + int(rng.integers(EACH))


def _line(history: list[int], target: int, label: int) -> str:
    items, categories = (" ".join(str(one // by) for one in history) for by in (1, PER_CATEGORY))
    return f"{items};{categories};{target};{target // PER_CATEGORY};{label}\n"
