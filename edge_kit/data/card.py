"""What lies in the folder of every mini set: what it is and is not, and what no model at all would score on it."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_kit.core.progress import Progress
from edge_kit.data.dataset import MiniSettings

NAME = "README.md"
WIDTH = 120

Maker = Callable[[Path, MiniSettings, Progress], None]


@dataclass(frozen=True, slots=True)
class Card:
    """What whoever finds a mini set should know.

    Attributes:
        title: `Digits on photographs in VOC's layout`.
        origin: A sentence: of which set it is no sample, and what it is made of.
        points: Sentences on what is in it, on what train and test share, and on what a score on it says.
        chance: What answers score that have nothing to do with what is shown, `top-1 10 %: ten classes`.
        unit: What is counted.
    """

    title: str
    origin: str
    points: tuple[str, ...]
    chance: str
    unit: str = "pictures"

    def text(self, maker: str, settings: MiniSettings) -> str:
        """The card as Markdown; `maker` is the file that makes the set."""
        counts = f"{settings.train} {self.unit} to train on, {settings.evaluation} to score"
        made = f"{self.origin} {maker} makes it, seed {settings.seed}: {counts}."
        points = [*self.points, f"Chance: {self.chance}."]
        lines = [textwrap.fill(f"- {point}", WIDTH, subsequent_indent="  ") for point in points]
        return "\n".join([f"# {self.title}", "", textwrap.fill(made, WIDTH), "", *lines, ""])


def with_card(card: Card) -> Callable[[Maker], Maker]:
    """Let the maker of a mini set write its card, too."""

    def decorate(make: Maker) -> Maker:
        @functools.wraps(make)
        def made(folder: Path, settings: MiniSettings, progress: Progress) -> None:
            make(folder, settings, progress)
            maker = f"{make.__module__.replace('.', '/')}.py"
            (folder / NAME).write_text(card.text(maker, settings), encoding="utf-8")

        return made

    return decorate
