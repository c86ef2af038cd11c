"""Every mini set says in its folder what it is, and what no model at all would score on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_kit.core.progress import silent
from edge_kit.data import FORMATS, DataFormat, MiniSettings

ROOT = Path(__file__).parents[2]
MADE = [form for form in FORMATS if form.make_mini]


@pytest.mark.parametrize("form", MADE, ids=lambda form: form.name)
def test_a_mini_set_says_what_it_is_who_makes_it_and_what_chance_scores(form: DataFormat, tmp_path: Path) -> None:
    assert form.make_mini
    form.make_mini(tmp_path, MiniSettings(train=5, evaluation=3, side=48, seed=9), silent)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    title, _, origin = card.split("\n", 3)[:3]
    assert title.startswith("# ")
    assert origin.startswith(("No ", "These are no", "This is no")), "first of all what it is not"
    made = " ".join(card.split())
    [maker] = [word for word in made.split() if word.startswith("edge_kit/") and f"{word} makes it, seed 9: 5 " in made]
    assert (ROOT / maker).is_file()
    assert "3 to score." in made
    assert "\n- Chance: " in card
    assert max(map(len, card.splitlines())) <= 120
