"""What the small commands print."""

import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import TOY, Cli, from_guide, install_distribution


def test_help_answers_in_half_a_second(cli: Cli) -> None:
    times = []
    for _ in range(5):
        began = time.monotonic()
        done = cli("--help")
        times.append(time.monotonic() - began)
        assert done.code == 0
        assert "compress" in done.out
    assert sorted(times)[1] < 0.5, times  # the second best: this machine may be shared


def test_help_imports_no_engine() -> None:
    code = (
        "import sys\nfrom edge_kit.cli import main\n"
        "print(sorted({'paddle', 'onnxruntime', 'cv2', 'sklearn', 'onnx', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SWALLOWS = """
import os, signal, time

try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    pass  # as a package may that tries what it can do without
"""


def test_an_interrupt_that_an_import_swallows_ends_the_command_all_the_same(cli: Cli, tmp_path: Path) -> None:
    install_distribution(tmp_path, "swallows", "edge_kit.models", "swallows", SWALLOWS)
    done = cli.with_packages(tmp_path)(*TOY)
    assert done.code == 130
    assert done.is_one_line()
    assert "interrupted" in done.err
    assert "=== stage" not in cli.logs()


def test_zoo_lists_every_model_with_its_published_row(cli: Cli) -> None:
    rows = {row["id"]: row for row in cli("zoo", "--json").json}
    assert rows["mobilenetv2"]["parameters"] == 3_505_960
    assert rows["mobilenetv2"]["reference"][0] == {
        "dataset": "ImageNet-2012 val",
        "metric": "top1",
        "value": 72.15,
        "unit": "%",
        "source": "PaddlePaddle/models release/1.6, PaddleCV/image_classification/README.md",
    }
    assert {"title", "family", "task", "macs", "inputs"} <= set(rows["mobilenetv2"])
    assert "toynet" in rows, "a model of another distribution"


def test_zoo_show_gives_one_of_them(cli: Cli) -> None:
    shown = cli("zoo", "show", "mobilenetv2", "--json").json
    assert shown["inputs"][0]["shape"] == ["N", 3, 224, 224]
    assert "72.15" in cli("zoo", "show", "mobilenetv2").out


def test_in_a_pipe_no_row_is_wrapped_and_no_name_cut_short(cli: Cli) -> None:
    env = {name: value for name, value in cli.env.items() if name != "COLUMNS"}
    piped = Cli(env)("zoo")
    assert "…" not in piped.out
    rows = [line for line in piped.out.splitlines() if line.startswith("│")]
    assert len(rows) == len(cli("zoo", "--json").json)
    assert any("crnn_ctc" in row and "read_text" in row and "22.3 %" in row for row in rows)
    assert "…" in Cli({**env, "COLUMNS": "60"})("zoo").out, "whoever asks for a width gets it"


def test_zoo_filters_by_task(cli: Cli) -> None:
    assert all(row["task"] == "classify" for row in cli("zoo", "--task", "classify", "--json").json)


def test_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("edge-kit 0.")


def test_doctor_finds_nothing_wrong_here_and_names_the_workspace(cli: Cli) -> None:
    done = cli("doctor", "--json")
    findings = {finding["name"]: finding for finding in done.json}
    assert done.code == 0, [f for f in done.json if f["ok"] is False]
    assert str(cli.workspace) in findings["workspace"]["detail"]
    assert findings["import paddleslim"]["ok"] is True


def test_doctor_names_twins_that_own_the_same_files_and_a_stolen_package_name(cli: Cli, tmp_path: Path) -> None:
    for name in ("onnxruntime-gpu", "convert"):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "top_level.txt").write_text("convert\n" if name == "convert" else "onnxruntime\n")
        (info / "RECORD").write_text("")
    done = cli("doctor", "--json", PYTHONPATH=f"{cli.env['PYTHONPATH']}:{tmp_path}")
    wrong = {finding["name"]: finding["detail"] for finding in done.json if finding["ok"] is False}
    assert done.code == 3
    assert "own the same files" in wrong["onnxruntime and onnxruntime-gpu"]
    assert "pip uninstall convert" in wrong["package 'convert'"]


def test_a_runtime_of_another_distribution_is_one_file_and_benches(cli: Cli, tmp_path: Path) -> None:
    install_distribution(tmp_path, "toyrt", "edge_kit.runtimes", "toy_runtime:ToyRuntime", from_guide("toy_runtime.py"))
    (tmp_path / "model.onnx").write_bytes(b"anything: the toy reads nothing")
    done = cli(
        "bench",
        str(tmp_path / "model.onnx"),
        "--runtime",
        "toyrt",
        "--json",
        PYTHONPATH=f"{cli.env['PYTHONPATH']}:{tmp_path}",
    )
    assert done.code == 0, done.err
    [row] = done.json["rows"]
    assert (row["runtime"], row["latency"]["runtime_version"]) == ("toyrt", "9.9")
