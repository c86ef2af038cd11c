"""A stage is done again when the network behind its model may have changed."""

import importlib
import sys
from functools import partial
from pathlib import Path

import pytest

from edge_kit.pipeline.inputs import code_digest

LAYERS = "class Layer:\n    width = 1\n"
NETWORK = "from nets.layers import Layer\n\n\nclass Net(Layer):\n    def __init__(self, depth, num_classes): ...\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "nets"
    folder.mkdir()
    for name, code in {"__init__": "", "layers": LAYERS, "network": NETWORK, "unrelated": ""}.items():
        (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "nets"]:
        del sys.modules[name]


def digest(depth: int = 3) -> str:
    return code_digest(partial(importlib.import_module("nets.network").Net, depth))


def test_the_same_code_and_arguments_have_the_same_digest(package: Path) -> None:
    assert digest() == digest()


@pytest.mark.parametrize("name", ["network", "layers"])
def test_an_edit_of_the_network_or_of_layers_it_imports_changes_it(package: Path, name: str) -> None:
    before = digest()
    (package / f"{name}.py").write_text((package / f"{name}.py").read_text() + "# edited\n")
    assert digest() != before


def test_an_edit_of_a_file_beside_them_does_not(package: Path) -> None:
    before = digest()
    (package / "unrelated.py").write_text("# edited\n")
    assert digest() == before


def test_other_arguments_change_it(package: Path) -> None:
    assert digest(depth=3) != digest(depth=4)


def test_a_function_that_takes_no_other_file_has_one() -> None:
    assert len(code_digest(digest)) == 64
