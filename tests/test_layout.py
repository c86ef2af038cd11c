"""The layout shows the architecture, and these tests hold it."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_kit.data import FORMATS
from edge_kit.tasks import TASKS
from edge_kit.tasks.own import OWN
from edge_kit.zoo import MODELS, load_all

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge_kit", "compress", "convert", "runtimes", "demos")
FLOORS = [  # from the ground; a file may import its own floor and those below
    "edge_kit.core",
    "runtimes",
    "convert",
    "compress",
    "edge_kit",
    "demos",
]
SHARED = ("edge_kit/pipeline/", "edge_kit/train/", "edge_kit/report/", "compress/", "convert/", "runtimes/")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def floor_of(module: str) -> int | None:
    """The floor a module stands on; None for other people's modules."""
    if module in ("edge_kit", "edge_kit.core") or module.startswith("edge_kit.core."):
        return 0
    top = module.split(".")[0]
    return FLOORS.index(top) if top in PACKAGES else None


def imports_of(path: Path) -> list[str]:
    """Every module that a file imports, at the top or inside a function."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_imports_upwards(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    here = floor_of(module)
    assert here is not None
    for name in imports_of(path):
        there = floor_of(name)
        assert there is None or there <= here, f"{module} imports {name}, which stands above it"


def test_only_one_file_imports_paddleslim() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name.split(".")[0] == "paddleslim" for name in imports_of(path)) or '"paddleslim.' in path.read_text()
    }
    assert users == {"compress/slim.py"}


def test_what_all_models_go_through_names_none_of_them_nor_a_task_nor_a_data_format() -> None:
    load_all()
    own = {OWN, "images", "npz"}  # of a model that a user brings
    names = {one.id for one in MODELS} | {one.name for one in TASKS} | {one.name for one in FORMATS}
    assert len(names - own) > 100
    shared = [path for path in SOURCES if path.relative_to(ROOT).as_posix().startswith(SHARED)]
    assert len(shared) > 100
    for path in shared:
        texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not names - own & texts, f"{path} has a special case"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_loads_pickles_or_evaluates_text(path: Path) -> None:
    assert not {"pickle", "dill", "shelve", "marshal"}.intersection(imports_of(path))
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    assert not names.intersection({"eval", "exec"})


def test_the_wheel_holds_our_five_packages_and_the_packaged_weights(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(tmp_path),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert "edge_kit/zoo/weights/mobilenetv2.safetensors" in names
    assert {f"edge_kit/camera/web/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert {f"edge_kit/report/page/report.{kind}" for kind in ("html", "css", "js")} <= set(names)


def test_the_ground_floor_and_runtimes_import_with_numpy_alone() -> None:
    code = (
        "import sys, runtimes.deploy, runtimes.bench, edge_kit.core.bundle\n"
        "heavy = {'paddle', 'paddleslim', 'onnx', 'cv2', 'typer', 'rich', 'sklearn', 'safetensors', 'onnxruntime'}\n"
        "heavy |= {'openvino', 'MNN', 'ncnn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
