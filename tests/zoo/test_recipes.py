"""The published recipe of every classifier is the published one, in the words of its training script."""

import csv
import re
from pathlib import Path

import pytest

from edge_kit.data.augment import RandomAreaCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.classification.imagenet import IMAGES

load_all()
# PaddlePaddle/models release/1.6, PaddleCV/image_classification, scripts/train: `step` falls to a tenth at epochs 30,
# 60 and 90; `cos` falls in a step at each epoch; `wu5` is five epochs of warm-up, behind which the cosine is smooth.
PUBLISHED = [
    tuple(row.values())
    for row in csv.DictReader(Path(__file__).with_name("published_recipes.tsv").open(), delimiter="\t")
]


def read(words: str) -> tuple[Recipe, RandomAreaCrop | None]:
    schedule, *rest = words.split()
    values = {}
    for word in rest:
        name, value = re.fullmatch(r"([A-Za-z_]+)=?(\d.*)", word).groups()
        values[name] = float(value)
    batch = int(values["bs"])
    recipe = Recipe(
        int(values["ep"]),
        batch,
        values["lr"],
        {"step": "step", "cos": "epoch_cosine", "cos+wu5": "late_cosine"}[schedule],
        warmup_steps=5 * (IMAGES // batch) if schedule.endswith("+wu5") else 0,
        weight_decay=values["wd"],
        milestones=(30, 60, 90) if schedule == "step" else (),
        label_smoothing=values.get("LS", 0.0),
        mixup=values.get("mixup", 0.0),
    )
    if not {"lower_scale", "lower_ratio"} & values.keys():
        return recipe, None
    aspect = (values.get("lower_ratio", 3 / 4), values.get("upper_ratio", 4 / 3))
    return recipe, RandomAreaCrop((values.get("lower_scale", 0.08), 1.0), aspect)


@pytest.mark.parametrize(("model", "words"), PUBLISHED, ids=[model for model, _ in PUBLISHED])
def test_the_recipe_is_as_published(model: str, words: str) -> None:
    setup = MODELS.get(model).published
    recipe, augment = read(words)
    assert setup.recipe == recipe
    assert setup.augment == augment


def test_a_classifier_without_a_published_recipe_is_one_we_know_of() -> None:
    known = {model for model, _ in PUBLISHED}
    without = {entry.id for entry in MODELS if entry.data == "imagenet"} - known
    assert {id for id in without if not id.startswith("mobilenetv3_")} == {
        "resnext50_64x4d",
        "resnext50_vd_32x4d",
    }
