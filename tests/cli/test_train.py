"""`edge-kit train`: several processes, previews, curves, and what is refused, as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.weights import load_weights, read_metadata
from tests.conftest import Cli, Result, from_guide, install_distribution

TRAIN = ("train", "toynet", "--json", "--learning-rate", "0.01")  # at the toy's own, 0.1, rounding grows tenfold a step
LONG = (*TRAIN, "--devices", "cpu:2", "--epochs", "500")


@pytest.fixture(scope="module")
def alone(session_cli: Cli) -> Result:
    return session_cli(*TRAIN)


@pytest.fixture(scope="module")
def together(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Two Gloo processes, with previews and curves."""
    logs = tmp_path_factory.mktemp("curves")
    return session_cli(*TRAIN, "--devices", "cpu:2", "--preview", "30", "--logs", str(logs))


def test_two_processes_train_as_one_does(alone: Result, together: Result) -> None:
    folders = []
    for done in (alone, together):
        assert done.code == 0, done.err
        folders.append(Path(done.json["weights"]).parent)
    ours, wanted = (json.loads((folder / "losses.json").read_text()) for folder in folders)
    assert folders[0] != folders[1]
    np.testing.assert_allclose(ours, wanted, rtol=1e-3)  # sums in another order, over forty steps
    assert abs(together.json["metrics"][0]["value"] - alone.json["metrics"][0]["value"]) <= 1.0


def test_a_preview_is_told_with_its_score_and_can_be_taken_as_weights(together: Result, session_cli: Cli) -> None:
    place = session_cli.workspace / "previews" / "toynet.safetensors"
    lines = [line for line in together.err.splitlines() if line.startswith("  after ")]
    assert [line.split(":")[0] for line in lines] == ["  after 20 steps", "  after 30 steps", "  after 40 steps"]
    assert all("top1 " in line and line.endswith(f"; weights {place}") for line in lines), "steps of --preview, epochs"
    about = read_metadata(place)
    assert about["step"] == "40"
    assert about["metric"].startswith(f"top1 {together.json['metrics'][0]['value']:.2f} %")
    last = load_weights(Path(together.json["weights"]))
    assert all(np.array_equal(value, last[name]) for name, value in load_weights(place).items())


def test_random_weights_begin_as_the_recipe_says_and_given_ones_as_they_are(
    alone: Result, session_cli: Cli, tmp_path: Path
) -> None:
    code = from_guide("toy_model.py").replace("toynet", "toystart")
    recipe = "learning_rate=0.1"
    assert code.count(recipe) == 1
    code = code.replace(recipe, f'{recipe}, starts=(("features.1.weight", 0.25),)')
    install_distribution(tmp_path, "toystart", "edge_kit.models", "toy_start", code)
    still = ("train", "toystart", "--json", "--epochs", "1", "--learning-rate", "1e-9")
    cli = session_cli.with_packages(tmp_path)
    random, given = cli(*still), cli(*still, "--weights", alone.json["weights"])
    assert random.code == given.code == 0, random.err + given.err
    scales = [load_weights(Path(run.json["weights"]))["features.1.weight"] for run in (random, given, alone)]
    np.testing.assert_allclose(scales[0], 0.25, atol=1e-6)
    np.testing.assert_allclose(scales[1], scales[2], atol=1e-6)


def test_another_seed_is_another_training_and_the_recipe_s_own_is_the_same(alone: Result, session_cli: Cli) -> None:
    same, other = (session_cli(*TRAIN, "--seed", seed) for seed in ("0", "1"))
    assert same.code == other.code == 0, same.err + other.err
    assert same.json["weights"] == alone.json["weights"]
    assert losses_of(other)[:3] != losses_of(alone)[:3]


def losses_of(run: Result) -> list[float]:
    return json.loads((Path(run.json["weights"]).parent / "losses.json").read_text())


def test_training_goes_on_from_given_weights(alone: Result, session_cli: Cli) -> None:
    done = session_cli(*TRAIN, "--weights", alone.json["weights"], "--epochs", "1")
    assert done.code == 0, done.err
    assert done.json["weights"] != alone.json["weights"]
    before, after = losses_of(alone), losses_of(done)
    assert np.mean(after[:5]) < np.mean([np.mean(before[:5]), np.mean(before[-5:])]), "where the other ended"


def test_weights_that_are_not_there_are_one_line(session_cli: Cli) -> None:
    done = session_cli(*TRAIN, "--weights", "nowhere.safetensors")
    assert done.is_one_line()
    assert "weights file 'nowhere.safetensors' does not exist" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", "0"), "--devices names GPUs and this Paddle computes on CPUs"),
        (("--devices", "cpu:5"), "a batch of 32 does not divide into 5 pieces"),
        (("--preview", "-1"), "--preview takes a number of steps"),
        (("--amp",), "--amp needs a GPU"),
        (("--weights", "pretrained", "--from-scratch"), "--weights from given ones; leave one out"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(options: tuple[str, ...], message: str, session_cli: Cli) -> None:
    done = session_cli(*TRAIN, *options)
    assert done.code == 2
    assert done.is_one_line()
    assert message in done.err


def processes_of(cli: Cli, module: str) -> list[int]:
    """Those that were given a file in the workspace, by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, ValueError):
            continue
        if any(word.startswith(str(cli.workspace)) for word in words) and module in words:
            found.append(int(entry.name))
    return found


def wait_for(what: str, holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.2)


@pytest.mark.slow
def test_an_interrupt_ends_every_process_and_the_same_command_goes_on(cli: Cli) -> None:
    run = cli.start(*LONG)
    wait_for("checkpoint", lambda: list((cli.workspace / "scratch").glob("train-*/checkpoint.safetensors")))
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "interrupted" in err
    wait_for("end of the others", lambda: not processes_of(cli, "edge_kit.pipeline.rank"), 10)
    wait_for("end of the engine", lambda: not processes_of(cli, "paddle.distributed.launch"), 15)


@pytest.mark.slow
def test_when_one_process_is_killed_the_run_ends_with_a_line(cli: Cli) -> None:
    run = cli.start(*LONG)
    wait_for("process", lambda: len(processes_of(cli, "edge_kit.pipeline.rank")) >= 2)
    wait_for(
        "step", lambda: any("progress" in p.read_text() for p in (cli.workspace / "scratch").glob("train-*/events"))
    )
    ranks = [
        pid
        for pid in processes_of(cli, "edge_kit.pipeline.rank")
        if pid not in processes_of(cli, "paddle.distributed.launch")
    ]
    os.kill(max(ranks), signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert Result(run.returncode, out, err).is_one_line()
    assert run.returncode == 1
    assert "stage 'train' failed" in err
    assert "its log: " in err
    assert "one of 2 processes ended before its time" in cli.logs()
    wait_for("end of the others", lambda: not processes_of(cli, "edge_kit.pipeline.rank"), 10)


@pytest.mark.slow
def test_two_machines_come_to_what_two_processes_of_one_do(together: Result, session_cli: Cli, tmp_path: Path) -> None:
    """Both on loopback, each with a workspace of its own."""
    hosts = ("--devices", "cpu", "--hosts", "127.0.0.1,127.0.0.1")
    clis = [session_cli.in_workspace(tmp_path / str(place)) for place in range(2)]
    runs = [cli.start(*TRAIN, *hosts, "--host", str(place)) for place, cli in enumerate(clis)]
    wanted = Path(together.json["weights"]).read_bytes()
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        assert Path(json.loads(out)["weights"]).read_bytes() == wanted
