"""Two generators go the whole way as two graphs; what judges them stays behind."""

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.bundle import Bundle
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

pytestmark = pytest.mark.slow

PAINTER = """
from dataclasses import replace

from edge_kit.core.images import ImagePreprocess
from edge_kit.data import MiniSettings
from edge_kit.data.augment import EnlargedCrop
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.gan.cyclegan import HALVES, MINI, CycleGan, graphs

PICTURE, RECIPE = ImagePreprocess(32, 32, HALVES, HALVES), replace(MINI, epochs=2)
register(
    ZooEntry(
        id="painter", title="Painter", family="test", task="translate", paper="none", licence="none",
        source="a test", data="unpaired", parameters=1, macs=1, published_sizes={},
        build=CycleGan, graphs=graphs, references=(), published=Setup(PICTURE, RECIPE, RECIPE),
        mini=Setup(PICTURE, RECIPE, RECIPE, EnlargedCrop(), MiniSettings(train=6, evaluation=4, side=32)),
    )
)
"""


@pytest.fixture(scope="module")
def painting(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("painter")
    install_distribution(site, "painter", "edge_kit.models", "painter", PAINTER)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def made(painting: Cli) -> Result:
    return painting("compress", "painter", *ANY_RATIO, "--json")


def test_both_directions_keep_their_pictures_and_all_convolutions_are_in_int8(made: Result) -> None:
    assert made.code == 0, made.err
    facts = made.json["facts"]
    assert set(facts["lowering"]) == {"a_to_b", "b_to_a"}
    for lowered in facts["lowering"].values():
        assert lowered["quantized"]["Conv"] == 22
        assert "Conv" not in lowered["left_float"]
    assert facts["agreement"]["int8"]["name"] == "PSNR"
    assert facts["agreement"]["int8"]["value"] > 25
    (likeness,) = facts["likeness"]["int8"]
    assert likeness["name"] == "SSIM"
    assert 0.8 < likeness["value"] < 1
    assert made.json["models"]["fp32"]["metric"] is None


def test_discriminators_do_not_ship(made: Result) -> None:
    bundle = Bundle(Path(made.json["bundle"]))
    assert set(bundle.manifest.graphs["int8"]) == {"a_to_b", "b_to_a"}
    assert bundle.size_bytes("fp32") == pytest.approx(2 * 4 * 2_853_187, rel=0.02)


@pytest.mark.parametrize("option", [("--quantize", "qat"), ("--input", "uint8-nhwc")])
def test_it_can_be_trained_with_rounding_and_take_pixels(option: tuple[str, str], made: Result, painting: Cli) -> None:
    done = painting("compress", "painter", *ANY_RATIO, *option, "--json")
    assert done.code == 0, done.err
    assert np.isfinite(done.json["facts"]["agreement"]["int8"]["value"])
