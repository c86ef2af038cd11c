"""Several processes, or one in several pieces, train as one process does with the whole batch."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import UsageError
from edge_kit.train.compute import Compute, Devices
from edge_kit.train.launch import launch
from tests.train.together import trained

TWO = Devices.parse("cpu:2")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What two Gloo processes on loopback came to, by rank."""
    folder = tmp_path_factory.mktemp("two")
    code = launch(("-m", "tests.train.together", str(folder / "out")), TWO, folder / "heard", lambda line: None)
    assert code == 0
    return [json.loads((folder / f"out.{rank}").read_text()) for rank in range(2)]


@pytest.mark.parametrize("norm", [True, False], ids=["batch norm", "none"])
def test_two_gloo_processes_have_the_loss_curve_of_one_with_the_whole_batch(shared: list[dict], norm: bool) -> None:
    losses, weights = trained(norm)
    assert losses[-1] < 0.8 * losses[0], "a flat curve would say nothing"
    for ours in (process[str(norm)] for process in shared):
        # float32 sums in another order, over twelve steps
        np.testing.assert_allclose(ours["losses"], losses, rtol=1e-4)
        for name, value in weights.items():
            np.testing.assert_allclose(ours["weights"][name], value, rtol=2e-3, atol=2e-4, err_msg=name)


def test_both_processes_end_with_the_same_weights(shared: list[dict]) -> None:
    assert shared[0] == shared[1]


def test_a_batch_in_pieces_gives_what_the_whole_gives_without_batch_norm() -> None:
    losses, weights = trained(norm=False)
    in_pieces, pieced = trained(norm=False, compute=Compute(accumulate=4))
    np.testing.assert_allclose(in_pieces, losses, rtol=1e-5)
    for name, value in weights.items():
        np.testing.assert_allclose(pieced[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_when_one_process_dies_all_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ("-m", "tests.train.together", str(tmp_path / "out"), "fault")
    assert launch(arguments, TWO, tmp_path / "heard", lambda line: None) != 0
    assert not list(tmp_path.glob("out.*"))
    assert "--- process 1" in capfd.readouterr().out


def test_a_batch_that_does_not_divide_names_the_next_that_does() -> None:
    assert Compute(accumulate=2).pieces(48, 3) == 8
    with pytest.raises(UsageError, match=r"32 does not divide into 6 pieces .* the next that does is 36"):
        Compute(accumulate=2).pieces(32, 3)
    with pytest.raises(UsageError, match="--accumulate must be at least 1, got 0"):
        Compute(accumulate=0)


@pytest.mark.parametrize(
    ("text", "kind", "numbers"),
    [(None, "", (0,)), ("cpu", "cpu", (0,)), ("cpu:3", "cpu", (0, 1, 2)), ("2", "gpu", (2,)), ("0,3", "gpu", (0, 3))],
)
def test_devices_are_gpus_by_number_or_processes_on_the_cpu(text: str | None, kind: str, numbers: tuple) -> None:
    devices = Devices.parse(text)
    assert (devices.kind, devices.numbers, devices.processes) == (kind, numbers, len(numbers))
    assert Devices.from_dict(json.loads(json.dumps(devices.as_dict()))) == devices


@pytest.mark.parametrize("text", ["", "cpu:0", "cpu:x", "gpu", "0,0", "1,,2", "-1", "cpu:1000"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--devices takes numbers of GPUs"):
        Devices.parse(text)


@pytest.mark.parametrize(
    ("devices", "hosts", "host", "message"),
    [
        ("0", "a,b", 0, "IPv4 addresses"),
        (None, "10.0.0.1,10.0.0.2", 0, "goes with --devices"),
        ("0", "10.0.0.1,10.0.0.2", None, "place among several --hosts"),
        ("0", "10.0.0.1,10.0.0.2", 2, "got 2 of 2"),
        ("0", None, 0, "got 0 of 0"),
    ],
)
def test_hosts_say_where_and_which(devices: str | None, hosts: str | None, host: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Devices.parse(devices, hosts, host)


def test_two_machines_with_two_gpus_each_are_four_processes() -> None:
    assert Devices.parse("0,1", "10.0.0.1,10.0.0.2", 1).processes == 4
