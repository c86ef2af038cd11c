"""The sentinel pack: what is chosen, that it is read back exactly, and what is said of a hostile one."""

from __future__ import annotations

import io
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edge_kit.core.bundle import SENTINEL, Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import MAIN, Array, GraphSpec, Tensors, TensorSpec
from edge_kit.data import Dataset
from edge_kit.pipeline.sentinel import BUDGET, LARGEST_SIDE, choose, deviation, read_pack, write_pack
from edge_kit.tasks import TASKS
from tests.conftest import Cli, Result
from tests.pipeline.remade import remade, with_weights
from tests.runtimes.test_runtime_board import Loopback
from tests.runtimes.test_runtime_board import loopback as loopback  # noqa: PLC0414 - a fixture


def logits(margin: float, first: int) -> dict[str, dict[str, Array]]:
    value = np.zeros((1, 3), np.float32)
    value[0, first] = margin
    return {MAIN: {"logits": value}}


def test_chosen_are_the_least_sure_and_some_of_each_tenth_part_and_all_classes_alike() -> None:
    rng = np.random.default_rng(0)
    margins = rng.random(1000)
    classes = rng.choice(3, 1000, p=[0.8, 0.15, 0.05])
    chosen = choose([logits(m, c) for m, c in zip(margins, classes, strict=True)], 30)
    assert len(set(chosen)) == 30
    ranks = np.sort(margins.argsort().argsort()[chosen])
    assert [int((ranks < 10**k).sum()) for k in (1, 2, 3)] == pytest.approx([10, 20, 30], abs=2)
    assert np.bincount(classes[chosen]).min() >= 3  # of the rarest class there are 50 in 1,000


def test_fewer_samples_than_wanted_are_all_taken() -> None:
    assert sorted(choose([logits(0.1, 0), logits(0.2, 0)], 30)) == [0, 1]


class Pictures:
    """Random ones that fill no 8 bits, of one size."""

    name, published, labels, sizes = "set", False, (), {}

    def __init__(self, side: int, frames: tuple[int, ...], count: int = 60) -> None:
        self.images = np.random.default_rng(0).random((count, *frames, 3, side, side)).astype(np.float32)

    def eval_size(self) -> int:
        return len(self.images)

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        for i in range(0, len(self.images), batch):
            yield {"image": self.images[i : i + batch], "label": np.zeros(batch, np.int64)}


def full(inputs: Tensors) -> Tensors:
    image = inputs["image"].astype(np.float64)
    image = image.reshape(len(image), -1)
    return {"logits": np.stack([(image * image).mean(1), image.std(1)], 1).astype(np.float32)}


def packed(tmp_path: Path, side: int, frames: tuple[int, ...] = ()) -> tuple[Any, Path]:
    specs = {MAIN: GraphSpec((TensorSpec("image", ("N", *frames, 3, side, side)),), ("logits",))}
    path = tmp_path / SENTINEL
    runs = {"fp32": {MAIN: full}, "int8": {MAIN: lambda given: {"logits": full(given)["logits"] + 1}}}
    write_pack(path, TASKS.get("classify"), cast(Dataset, Pictures(side, frames)), specs, runs)

    class Told:
        class manifest:  # noqa: N801
            inputs = {MAIN: specs[MAIN].inputs}
            outputs = {MAIN: ("logits",)}

    told: Any = Told()
    told.path = tmp_path
    return read_pack(told), path


@pytest.mark.parametrize("side", [32, LARGEST_SIDE, 150, 224])
def test_what_is_read_gives_the_stored_answers_to_the_last_bit(side: int, tmp_path: Path) -> None:
    pack, path = packed(tmp_path, side)
    assert pack.inputs[MAIN]["image"].shape[1:] == (1, 3, side, side)
    found = deviation(pack.outputs, pack.run({MAIN: full}))
    assert (found.flips, found.error) == (0.0, 0.0)
    assert deviation(pack.outputs, pack.made).error > 0.1
    assert pack.calls >= 8 and path.stat().st_size < 1.6 * BUDGET


def test_clips_are_kept_as_their_pictures_are(tmp_path: Path) -> None:
    pack, path = packed(tmp_path, 150, frames=(4,))
    assert pack.inputs[MAIN]["image"].shape == (8, 1, 4, 3, 150, 150)
    found = deviation(pack.outputs, pack.run({MAIN: full}))
    assert (found.flips, found.error) == (0.0, 0.0)
    assert path.stat().st_size < 8 * 4 * 3 * 75 * 75 * 1.2, "a byte for each block of pixels"


def test_the_same_work_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert packed(tmp_path / "a", 32)[1].read_bytes() == packed(tmp_path / "b", 32)[1].read_bytes()


def scores(*rows: tuple[float, ...]) -> dict[str, dict[str, Array]]:
    return {MAIN: {"logits": np.array(rows, np.float32)[:, None]}}


def test_a_flip_is_another_class_and_an_answer_that_is_no_number_is_one() -> None:
    wanted = scores((1, 0), (1, 0), (0, 2), (0, 2))
    assert deviation(wanted, scores((2, 0), (0, 1), (0, 1), (0, 1))).flips == 25
    broken = deviation(wanted, scores((1, 0), (1, 0), (0, 2), (np.nan, 2)))
    assert (broken.flips, broken.error) == (25, float("inf"))
    assert deviation(wanted, scores((1, 0), (1, 0), (0, 2), (0, 1))).error == pytest.approx((1 / 10) ** 0.5)


def test_outputs_without_classes_have_no_flips() -> None:
    maps = {MAIN: {"heat": np.ones((4, 100), np.float32)}}
    assert deviation(maps, maps).flips is None


def pickled(path: Path) -> None:
    np.savez(path, **{"input/main/image": np.array([{"a": 1}], object)})


def no_zip(path: Path) -> None:
    path.write_bytes(b"nonsense")


def empty(path: Path) -> None:
    np.savez(path)


def other_names(path: Path) -> None:
    np.savez(path, **{"input/main/picture": np.zeros((2, 1, 3), np.float32), "x": np.zeros(3)})


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def lying_header(path: Path) -> None:
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("input/main/image.npy", held.getvalue())


@pytest.mark.parametrize("hurt", [pickled, no_zip, empty, other_names, truncated, lying_header])
def test_a_hostile_pack_is_one_line(hurt: Any, toy_run: Result, tmp_path: Path) -> None:
    shutil.copytree(toy_run.json["bundle"], tmp_path / "toynet")
    hurt(tmp_path / "toynet" / SENTINEL)
    with pytest.raises(BadData) as caught:
        read_pack(Bundle(tmp_path / "toynet"))
    assert SENTINEL in str(caught.value) and "make the bundle again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_needs_no_data_set_and_no_ten_seconds(toy_run: Result, cli: Cli) -> None:
    began = time.monotonic()
    done = cli("verify", toy_run.json["bundle"], "--sentinel", "--json")
    assert time.monotonic() - began < 10
    assert done.code == 0, done.err
    assert not (cli.workspace / "stages").exists()
    checks = {check["name"]: check for check in done.json[0]["checks"]}
    assert checks["sentinel: fp32 error"]["value"] < 1e-6
    assert checks["sentinel: int8 flips"]["value"] <= checks["sentinel: int8 flips"]["limit"]
    assert 0 < checks["sentinel: int8 error"]["value"] < 0.3
    assert 0 <= checks["sentinel: int8 cut off"]["value"] < 1
    assert checks["sentinel: int8 latency ratio"]["value"] > 0


def test_worse_weights_are_found_by_flips_and_error(toy_run: Result, session_cli: Cli, tmp_path: Path) -> None:
    toy = Bundle(Path(toy_run.json["bundle"]))
    graph = with_weights(toy.graph("int8", "main"), tmp_path / "worse.onnx", lambda i, w: w[::-1])
    done = session_cli("verify", str(remade(toy, tmp_path, {"int8": graph}).path), "--sentinel", "--json")
    assert done.code == 3
    short = {check["name"] for check in done.json[0]["checks"] if check["ok"] is False}
    assert short == {"sentinel: int8 flips", "sentinel: int8 error"}


def test_it_runs_on_a_board(toy_run: Result, session_cli: Cli, loopback: Loopback) -> None:
    address = f"ssh://pi@127.0.0.1:{loopback.port}"
    options = ("--sentinel", "--on", address, "--python", sys.executable, "--json")
    done = session_cli("verify", toy_run.json["bundle"], *options, EDGE_KIT_SSH=loopback.ssh)
    assert done.code == 0, done.err
    [error] = [check for check in done.json[0]["checks"] if check["name"] == "sentinel: int8 error"]
    assert error["note"].endswith(f"on onnx on {address}")
