"""Runtimes by name, ours and those of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_kit.core.errors import EdgeKitError, MissingDependency, UsageError
from runtimes.registry import get_runtime, installed_runtimes, runtime_names

Install = Callable[..., Path]
Source = Callable[..., str]


def test_our_runtimes_are_known_by_name() -> None:
    assert {"null", "onnx"} <= set(runtime_names())
    assert runtime_names() == sorted(runtime_names())


@pytest.mark.parametrize("name", runtime_names())
def test_every_runtime_goes_by_the_name_it_is_registered_by(name: str) -> None:
    try:
        runtime = get_runtime(name)
    except MissingDependency as fault:
        pytest.skip(str(fault))
    assert runtime.name == name
    assert runtime.version()


def test_knowing_the_names_imports_no_engine() -> None:
    code = (
        "import sys; from runtimes.registry import runtime_names; runtime_names();"
        "print(sorted({'onnxruntime', 'openvino', 'MNN', 'ncnn', 'runtimes.ort', 'runtimes.null'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"^unknown runtime 'onx'; did you mean 'onnx'\?$"):
        get_runtime("onx")


def test_missing_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency) as caught:
        get_runtime("onnx")
    assert str(caught.value) == ("runtime 'onnx' needs the onnxruntime package: pip install 'edge-kit[onnx]'")


def test_runtimes_without_their_engine_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    names = [runtime.name for runtime in installed_runtimes()]
    assert "null" in names
    assert "onnx" not in names


def test_an_engine_that_does_not_load_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libfoo.so:\\n not found')")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EdgeKitError) as caught:
        get_runtime("onnx")
    assert str(caught.value) == "onnxruntime is installed but broken: libfoo.so: not found"
    assert not isinstance(caught.value, MissingDependency)


def test_a_runtime_of_another_distribution_is_found(install: Install, engine_source: Source, tmp_path: Path) -> None:
    install("edge-kit-toy", "toy", engine_source("toy"))
    assert "toy" in runtime_names()
    assert get_runtime("toy").version() == "7.1"
    assert "toy" in [runtime.name for runtime in installed_runtimes()]


@pytest.mark.parametrize(
    ("head", "target", "fault"),
    [
        (
            "import no_such_engine",
            "Engine",
            "ModuleNotFoundError: No module named 'no_such_engine'",
        ),
        ("1 / 0", "Engine", "ZeroDivisionError: division by zero"),
        ("raise OSError('two\\nlines')", "Engine", "OSError: two lines"),
        ("", "NullSession", "it has no name, version and load"),
        ("", "Absent", "AttributeError: module 'edge_kit_bad_module' has no attribute 'Absent'"),
    ],
    ids=["import fails", "module fails", "many lines", "not a runtime", "no such class"],
)
def test_a_broken_runtime_of_another_distribution_is_one_line_that_names_it(
    install: Install, engine_source: Source, head: str, target: str, fault: str
) -> None:
    install("edge-kit-bad", "bad", engine_source("bad", head=head), target)
    assert "bad" in runtime_names()
    with pytest.raises(EdgeKitError) as caught:
        get_runtime("bad")
    assert str(caught.value) == (f"runtime 'bad' of edge-kit-bad (edge_kit_bad_module:{target}) is broken: {fault}")


def test_a_runtime_may_not_go_by_another_name(install: Install, engine_source: Source) -> None:
    install("edge-kit-alias", "alias", engine_source("onnx"))
    with pytest.raises(EdgeKitError, match="is broken: it calls itself 'onnx'$"):
        get_runtime("alias")


@pytest.mark.parametrize("look", [runtime_names, installed_runtimes, lambda: get_runtime("onnx")])
def test_a_name_of_ours_may_not_be_taken(install: Install, engine_source: Source, look: Callable[[], object]) -> None:
    install("edge-kit-thief", "onnx", engine_source("onnx"))
    with pytest.raises(EdgeKitError) as caught:
        look()
    assert str(caught.value) == (
        "runtime 'onnx' of edge-kit-thief is already registered by edge-kit; uninstall one of them"
    )


def test_two_distributions_may_not_share_a_name(install: Install, engine_source: Source) -> None:
    install("toy-one", "toy", engine_source("toy"))
    install("toy-two", "toy", engine_source("toy"))
    with pytest.raises(EdgeKitError, match=r"^runtime 'toy' of toy-\w+ is already registered by toy-"):
        runtime_names()
