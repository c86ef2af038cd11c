"""A stage's result is whole or absent, made once, and found by what made it."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from edge_kit.core import files
from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.workspace import Workspace, stage_key

KEY = stage_key("train", {"epochs": 2}, {"data": "aa"}, {"paddle": "3.1.1"})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "home")


def model(output: Path, scratch: Path) -> None:
    (output / "sub").mkdir()
    (output / "sub" / "labels.txt").write_text("cat")
    (output / "model.onnx").write_bytes(b"weights")


def never(output: Path, scratch: Path) -> None:
    raise AssertionError("made again")


def leftovers(workspace: Workspace) -> list[str]:
    found = [*workspace.root.glob("stages/.*"), *workspace.root.glob("scratch/*")]
    return sorted(path.relative_to(workspace.root).as_posix() for path in found)


def test_a_result_holds_what_was_made_and_is_found_again(workspace: Workspace) -> None:
    made = workspace.produce("train", KEY, model)
    assert (made.path / "model.onnx").read_bytes() == b"weights"
    assert made.path.name == f"train-{KEY[:16]}"
    record = json.loads((made.path / "stage.json").read_text())
    assert record["files"].keys() == {"model.onnx", "sub/labels.txt"}
    assert workspace.produce("train", KEY, never) == made == workspace.find("train", KEY)
    made.verify()
    assert leftovers(workspace) == []


def test_all_results_of_a_stage_are_found_and_none_of_another_or_without_its_record(workspace: Workspace) -> None:
    made = [workspace.produce(name, KEY, model) for name in ("train", "train-on", "trained")]
    other = workspace.produce("train", stage_key("train", {"epochs": 3}, {}, {}), model)
    assert sorted(one.key for one in workspace.results("train")) == sorted([KEY, other.key])
    (other.path / "stage.json").write_text("{}")
    assert list(workspace.results("train")) == made[:1]


def test_each_thing_that_decides_a_result_changes_its_key() -> None:
    keys = {
        KEY,
        stage_key("prune", {"epochs": 2}, {"data": "aa"}, {"paddle": "3.1.1"}),
        stage_key("train", {"epochs": 3}, {"data": "aa"}, {"paddle": "3.1.1"}),
        stage_key("train", {"epochs": 2}, {"data": "ab"}, {"paddle": "3.1.1"}),
        stage_key("train", {"epochs": 2}, {"data": "aa"}, {"paddle": "3.2.0"}),
    }
    assert len(keys) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)
    assert stage_key("a", {"x": 1, "y": 2}, {}, {}) == stage_key("a", {"y": 2, "x": 1}, {}, {})


def test_the_digest_depends_on_content_and_not_on_time_or_order(tmp_path: Path) -> None:
    def backwards(output: Path, scratch: Path) -> None:
        change(output)
        time.sleep(0.01)
        model(output, scratch)

    def other(output: Path, scratch: Path) -> None:
        model(output, scratch)
        change(output)

    makers = (model, backwards, other)
    made = [Workspace(tmp_path / m.__name__).produce("train", KEY, m) for m in makers]
    assert made[0].digest == made[1].digest != made[2].digest
    assert made[0].seconds != made[1].seconds


def change(result: Path) -> None:
    (result / "model.onnx").write_bytes(b"Weights")


def forge(result: Path) -> None:
    change(result)
    record = json.loads((result / "stage.json").read_text())
    record["files"]["model.onnx"] = files.sha256_file(result / "model.onnx")
    (result / "stage.json").write_text(json.dumps(record))


TAMPERED: dict[str, Callable[[Path], None]] = {
    "'model.onnx' has changed": change,
    "'sub/labels.txt' is missing": lambda result: (result / "sub" / "labels.txt").unlink(),
    "'sub/new.txt' is extra": lambda result: (result / "sub" / "new.txt").symlink_to("nowhere"),
    "'stage.json' has changed": forge,
}


@pytest.mark.parametrize("named", TAMPERED)
def test_a_tampered_file_is_found_by_name(workspace: Workspace, named: str) -> None:
    made = workspace.produce("train", KEY, model)
    TAMPERED[named](made.path)
    with pytest.raises(BadData, match=f"{made.path}.*{named}.*delete that folder"):
        made.verify()


RECORDS = ["", "[1", "null", "{}", "\xff", '{"name": "a", "key": 1, "seconds": 0.1, "files": {}}']


@pytest.mark.parametrize("record", [*RECORDS, None])
def test_a_result_without_its_record_or_a_file_is_made_again(workspace: Workspace, record: str | None) -> None:
    made = workspace.produce("train", KEY, model)
    if record is None:
        (made.path / "model.onnx").unlink()
    else:
        (made.path / "stage.json").write_text(record, encoding="latin-1")
    assert workspace.find("train", KEY) is None
    assert workspace.produce("train", KEY, model) == replace(made, seconds=ANY)
    made.verify()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("diverged")])
def test_a_failed_attempt_leaves_its_scratch(workspace: Workspace, error: BaseException) -> None:
    def fail(output: Path, scratch: Path) -> None:
        model(output, scratch)
        (scratch / "checkpoint").write_text("epoch 1")
        raise error

    with pytest.raises(type(error)):
        workspace.produce("train", KEY, fail)
    assert leftovers(workspace) == [f"scratch/train-{KEY[:16]}"]
    assert workspace.find("train", KEY) is None


def test_a_result_holds_plain_files_only(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match=r"'link'"):
        workspace.produce("train", KEY, lambda out, _: (out / "link").symlink_to("/etc/passwd"))
    with pytest.raises(ValueError, match=r"letters"):
        workspace.find("../train", KEY)


CHILD = """
import os, sys, time
from pathlib import Path
from edge_kit.core.workspace import Workspace
root, key, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def make(output, scratch):
    with (root / "calls").open("a") as calls:
        calls.write(mode + "\\n")
    (output / "resumed").write_text(str((scratch / "checkpoint").exists()))
    (scratch / "checkpoint").write_text("epoch 1")
    print("making", flush=True)
    time.sleep(600 if mode == "hang" else 1)
result = Workspace(root).produce("train", key, make, lambda: print("waiting", flush=True))
print(result.digest, flush=True)
"""


Child = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def child(workspace: Workspace) -> Iterator[Child]:
    started: list[subprocess.Popen[str]] = []

    def start(mode: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(workspace.root), KEY, mode]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_at_once_make_it_once(workspace: Workspace, child: Child) -> None:
    outputs = [process.communicate(timeout=60)[0].split() for process in (child("a"), child("b"))]
    assert sorted(output[0] for output in outputs) == ["making", "waiting"]
    assert outputs[0][1] == outputs[1][1]
    assert len((workspace.root / "calls").read_text().split()) == 1


def test_a_killed_run_leaves_no_result_and_the_next_has_its_scratch(workspace: Workspace, child: Child) -> None:
    process = child("hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "making\n"
    process.kill()
    process.wait()
    assert workspace.find("train", KEY) is None
    assert leftovers(workspace) == [f"{at}train-{KEY[:16]}" for at in ("scratch/", "stages/.")]
    child("again").communicate(timeout=60)
    made = workspace.find("train", KEY)
    assert made is not None
    assert (made.path / "resumed").read_text() == "True"
    assert leftovers(workspace) == []


STEPS = [(Path, "mkdir"), (tempfile, "mkstemp"), (os, "fsync"), (Path, "rename")]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES], ids=["full", "denied"])
def test_a_fault_of_the_disk_at_any_step_is_one_line_and_no_result(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str], code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    def make(output: Path, scratch: Path) -> None:
        monkeypatch.setattr(*step, fail)
        model(output, scratch)

    with pytest.raises(EdgeKitError, match=r"^no (space left|access).*--workspace DIR\Z"):
        workspace.produce("train", KEY, make)
    monkeypatch.undo()
    assert workspace.find("train", KEY) is None
    assert leftovers(workspace) == [f"scratch/train-{KEY[:16]}"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_freed_space_is_enough_to_go_on(tiny_disk: Path) -> None:
    workspace = Workspace.open(tiny_disk)

    def big(output: Path, scratch: Path) -> None:
        (output / "big").write_bytes(bytes(1 << 20))

    with pytest.raises(EdgeKitError, match=f"no space left for '{tiny_disk}.*--workspace DIR"):
        workspace.produce("train", KEY, big)
    assert leftovers(workspace) == [f"scratch/train-{KEY[:16]}"]
    with pytest.raises(OSError), (tiny_disk / "filler").open("ab", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    with pytest.raises(EdgeKitError, match="no space left"):
        Workspace.open(tiny_disk)
    (tiny_disk / "filler").unlink()
    workspace.produce("train", KEY, model).verify()


def test_a_workspace_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(EdgeKitError, match=r"is not a folder; .*--workspace DIR\Z"):
            Workspace.open(path)
    with pytest.raises(EdgeKitError, match=r"^cannot keep a workspace in .*--workspace DIR\Z"):
        Workspace.open(Path("/proc/edge-kit"))


def test_a_workspace_of_someone_else_is_one_line(tmp_path: Path) -> None:
    user = os.geteuid()
    tmp_path.chmod(0o500)
    if user == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        with pytest.raises(EdgeKitError, match=r"^no access to .*--workspace DIR\Z"):
            Workspace.open(tmp_path / "below")
    finally:
        os.seteuid(user)


def test_the_workspace_is_the_one_asked_for_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGE_KIT_HOME", str(tmp_path / "variable"))
    assert Workspace.open(tmp_path / "asked").root == tmp_path / "asked"
    assert Workspace.open().root == tmp_path / "variable"
    monkeypatch.setenv("EDGE_KIT_HOME", "")
    assert Workspace.open().root == tmp_path / "cache" / "edge-kit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the XDG specification
    assert Workspace.open().root == tmp_path / ".cache" / "edge-kit"


def test_size_counts_all_files(workspace: Workspace) -> None:
    (workspace.bundles_dir / "a").write_bytes(bytes(1000))
    (workspace.logs_dir / "b").write_bytes(bytes(24))
    assert workspace.size_bytes() == 1024
