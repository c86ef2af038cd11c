"""Weights that ship: whole, of the network that they are named after, and with a note on how they came to be."""

import numpy as np
import pytest

from edge_kit.core.weights import load_weights
from edge_kit.pipeline.sources import packaged_weights
from edge_kit.zoo import MODELS, load_all
from tests.conftest import ROOT

load_all()
FOLDER = ROOT / "edge_kit" / "zoo" / "weights"
PACKAGED = [entry.id for entry in MODELS if entry.mini.weights == f"{entry.id}.safetensors"]


def test_every_file_is_of_a_model_and_has_its_note_and_the_other_way_round() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{id}.{kind}" for id in PACKAGED for kind in ("safetensors", "md")
    }


@pytest.mark.parametrize("id", PACKAGED)
def test_packaged_weights_are_those_of_the_network_in_half_precision(id: str) -> None:
    path = packaged_weights(f"{id}.safetensors")
    assert path is not None
    weights, entry = load_weights(path), MODELS.get(id)
    state = {name: value.numpy() for name, value in entry.build(num_classes=10).state_dict().items()}
    assert {name: value.shape for name, value in weights.items()} == {n: v.shape for n, v in state.items()}
    for name, value in weights.items():
        assert value.dtype == np.float16 and np.isfinite(value).all(), name
    assert path.stat().st_size < 7_000_000


@pytest.mark.parametrize("id", PACKAGED)
def test_the_note_has_the_command_that_makes_them(id: str) -> None:
    command = f"edge-kit train {id} --from-scratch --half --out edge_kit/zoo/weights/{id}.safetensors"
    assert command in (FOLDER / f"{id}.md").read_text()
