"""What `doctor` finds in installations that are made up of distributions."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_kit.pipeline.doctor import MEASURED, Finding, _starts, _twins, _versions
from runtimes.registry import runtime_names

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of distributions that hides the real ones of the same name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def put(site: Path, name: str, version: str) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def found(name: str, findings: list[Finding]) -> Finding:
    return next(finding for finding in findings if finding.name == name)


@pytest.mark.parametrize("pair", [("onnxruntime", "onnxruntime-gpu"), ("paddlepaddle", "paddlepaddle-gpu")])
def test_twins_that_own_the_same_files_are_named_with_what_to_type(site: Path, pair: tuple[str, str]) -> None:
    for name in pair:
        put(site, name, "1.20.0")
    one = found(" and ".join(pair), _twins())
    assert one.ok is False
    assert one.detail == f"own the same files: pip uninstall {pair[0]} {pair[1]}, then install one"


@pytest.mark.parametrize(
    ("package", "version", "command"),
    [
        ("paddlepaddle", "3.2.0", "pip install 'paddlepaddle==3.1.*'"),
        ("paddlepaddle", "2.6.2", "pip install 'paddlepaddle==3.1.*'"),
        ("paddle2onnx", "2.0.1", "pip install 'paddle2onnx==1.3.*'"),
        ("numpy", "2.1.0", "pip install 'numpy==1.*'"),
        ("onnx", "1.18.0", "pip install 'onnx==1.17.*'"),
        ("onnxruntime", "1.9.0", "pip install 'onnxruntime>=1.18'"),
    ],
)
def test_a_version_known_to_fail_says_why_and_what_to_type(
    site: Path, package: str, version: str, command: str
) -> None:
    put(site, package, version)
    one = found(package, _versions())
    assert one.ok is False
    assert one.detail.startswith(f"{version}: ")
    assert one.detail.endswith(command)


@pytest.mark.parametrize(
    ("package", "version"), [("onnx", "1.16.2"), ("onnxruntime", "1.32.0"), ("onnxruntime", "2.0")]
)
def test_a_version_that_was_measured_is_all_right(site: Path, package: str, version: str) -> None:
    put(site, package, version)
    assert found(package, _versions()) == Finding(package, True, version)


def test_other_engines_are_told_with_their_version_and_no_verdict(site: Path) -> None:
    for name in ("openvino", "ncnn", "MNN"):
        put(site, name, "9.8.7")
        assert found(name, _versions()) == Finding(name, None, "9.8.7")


def test_every_package_with_a_verdict_is_in_the_table_of_versions() -> None:
    page = (ROOT / "docs/versions.md").read_text()
    assert all(one.package in page for one in MEASURED)


@pytest.mark.parametrize("name", runtime_names())
def test_every_runtime_has_a_version_or_the_command_that_installs_it(name: str) -> None:
    one = _starts(name)
    assert one.name == f"runtime {name}"
    assert one.detail[0].isdigit() if one.ok else "pip install" in one.detail


def test_an_engine_that_crashes_its_process_is_a_finding(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "onnxruntime.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    assert _starts("onnx") == Finding("runtime onnx", False, "its import ended the process with signal 6")


def test_an_engine_that_is_not_there_is_no_fault(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "raise ModuleNotFoundError(\"No module named 'onnxruntime'\", name='onnxruntime')"
    (site / "onnxruntime.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    text = "runtime 'onnx' needs the onnxruntime package: pip install 'edge-kit[onnx]'"
    assert _starts("onnx") == Finding("runtime onnx", None, text)
