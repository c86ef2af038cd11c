"""`edge-kit sensitivity` and `compress --explain-passes`, as a user types them."""

import sys
from pathlib import Path

import cv2
import pytest

from convert.lower import CAMERA_PASSES, PASSES
from edge_kit.core.errors import MissingDependency, UsageError
from edge_kit.report.plot import check_plot
from tests.conftest import Cli, Result

ASKED = ("sensitivity", "toynet", "--calibration", "40")


@pytest.fixture(scope="module")
def ranking(toy_run: Result, session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    plot = tmp_path_factory.mktemp("plot") / "layers.svg"
    return session_cli(*ASKED, "--plot", str(plot), "--json"), plot


def test_every_layer_is_ranked_with_its_conditions(ranking: tuple[Result, Path]) -> None:
    done, _ = ranking
    assert done.code == 0, done.err
    report = done.json
    assert (report["id"], report["algorithm"], report["samples"]) == ("toynet", "hist", 40)
    layers = report["layers"]
    assert sorted(one["operator"] for one in layers) == ["Conv"] * 4 + ["Gemm", "GlobalAveragePool"]
    noises = [one["noise"] for one in layers]
    assert noises == sorted(noises, reverse=True)
    assert 0 < noises[-1] <= noises[0] < 0.1
    assert all(one["graph"] == "main" for one in layers)


def test_the_table_and_the_drawing_name_the_same_layers(ranking: tuple[Result, Path], session_cli: Cli) -> None:
    done, plot = ranking
    table = session_cli(*ASKED)
    assert table.code == 0, table.err
    assert "was done before" in table.err
    drawing = plot.read_text()
    assert drawing.startswith("<?xml")
    for one in done.json["layers"]:
        assert one["node"] in table.out
        assert one["node"] in drawing  # matplotlib writes each text as a comment beside its outlines
        assert f"{one['noise']:.2e}" in table.out
    assert "on 40 calibration samples" in table.out


def test_a_drawing_is_the_same_again_and_may_be_a_png(
    ranking: tuple[Result, Path], session_cli: Cli, tmp_path: Path
) -> None:
    for name in ("again.svg", "layers.png"):
        assert session_cli(*ASKED, "--plot", str(tmp_path / name)).code == 0
    assert (tmp_path / "again.svg").read_bytes() == ranking[1].read_bytes()
    picture = cv2.imread(str(tmp_path / "layers.png"))
    assert picture.shape[0] >= 100
    assert 0 < (picture < 128).mean() < 0.5


def test_a_drawing_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli(*ASKED, "--plot", "layers.gif")
    assert (done.code, done.is_one_line()) == (2, True)
    assert "--plot 'layers.gif' must end in .svg or .png" in done.err
    with pytest.raises(UsageError, match="folder '/nowhere' does not exist"):
        check_plot(Path("/nowhere/layers.svg"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"needs the matplotlib package: pip install 'edge-kit\[plot\]'"):
        check_plot(tmp_path / "layers.svg")


def test_the_passes_are_told_in_order_without_any_work(cli: Cli) -> None:
    done = cli("compress", "--explain-passes", "--json")
    assert done.code == 0, done.err
    assert [one["name"] for one in done.json] == [step.name for step in PASSES]
    assert {one["name"] for one in done.json if one["keeps_answers"]} >= {"fold_batch_norm"}
    table = cli("compress", "toynet", "--explain-passes", "--input", "uint8-nhwc")
    assert table.code == 0, table.err
    for step in CAMERA_PASSES:
        assert step.name in table.out
    assert "Fold every BatchNormalization" in table.out
    assert not cli.workspace.exists()


def test_compress_without_a_model_says_what_to_name(cli: Cli) -> None:
    done = cli("compress")
    assert (done.code, done.is_one_line()) == (2, True)
    assert "which model? give an id" in done.err
