"""A network starts from a file's weights: all of them, or those of one of its parts."""

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.progress import silent
from edge_kit.core.tensors import Array
from edge_kit.core.weights import load_weights, save_weights
from edge_kit.data import FORMATS, Dataset, OpenOptions
from edge_kit.data.dataset import MiniSettings
from edge_kit.pipeline.inputs import base_settings, starting_weights
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.networks import build_network, state_of
from edge_kit.zoo import MODELS, load_all

load_all()
IN_PARTS = [entry.id for entry in MODELS if entry.mini.part]


def scenes(id: str, folder: Path) -> Dataset:
    entry = MODELS.get(id)
    form = FORMATS.get(entry.data)
    form.make_mini(folder, MiniSettings(train=2, evaluation=2, side=64), silent)
    return form.open(folder, entry.mini.preprocess, OpenOptions("mini", False))


def context_of(id: str, folder: Path, **inputs: Path) -> Context:
    return Context(base_settings(id, "mini", 0), inputs, folder, folder, silent)


@pytest.mark.parametrize("id", IN_PARTS)
def test_a_part_has_the_packaged_weights_and_the_rest_is_random(id: str, tmp_path: Path) -> None:
    start, dataset = starting_weights(base_settings(id, "mini", 0)), scenes(id, tmp_path / "data")
    assert list(start) == ["part"]
    net = state_of(build_network(context_of(id, tmp_path, part=start["part"].path), dataset, 0))
    bare = state_of(build_network(context_of(id, tmp_path), dataset, 0))
    given, place = load_weights(start["part"].path), f"{MODELS.get(id).mini.part}."
    part = [name for name in net if name.startswith(place)]
    assert len(part) > 100 and len(part) < len(net)
    for name, value in net.items():
        wanted = given[name.removeprefix(place)].astype(value.dtype) if name in part else bare[name]
        np.testing.assert_array_equal(value, wanted, name)


NARROW = {"conv1.0.weight": np.zeros((8, 3, 3, 3), np.float32)}


@pytest.mark.parametrize(("first", "told"), [({}, "None"), (NARROW, r"\(8, 3, 3, 3\)")])
@pytest.mark.parametrize("id", IN_PARTS)
def test_weights_that_do_not_fit_a_part_are_one_line(
    id: str, first: dict[str, Array], told: str, tmp_path: Path
) -> None:
    start, file = starting_weights(base_settings(id, "mini", 0)), tmp_path / "w.safetensors"
    rest = {name: value for name, value in load_weights(start["part"].path).items() if name != "conv1.0.weight"}
    save_weights(file, rest | first, {})
    why = rf"'w.safetensors' do not fit .*'conv1.0.weight' is {told} and must be \(32, 3, 3, 3\)"
    with pytest.raises(BadData, match=why):
        build_network(context_of(id, tmp_path, part=file), scenes(id, tmp_path / "data"), 0)
