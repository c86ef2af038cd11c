"""Whatever file is handed to whichever runtime: one line, or at worst the end of the process that loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_kit.core.errors import MissingDependency
from runtimes.faults import LONGEST
from runtimes.registry import get_runtime, reads, runtime_names
from tests.runtimes.hostile import MAKERS, common

READS_NOTHING = ("null",)
SURVIVE = ("onnx", "paddle")  # none of these files ends their process
ROOT = Path(__file__).parents[2]
LOADER = """
import json, sys
from pathlib import Path
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import random_inputs
from edge_kit.core.workspace import Workspace
from runtimes.conversion import own_form
from runtimes.inputs import settle
from runtimes.registry import get_runtime

runtime, workspace = get_runtime(sys.argv[1]), Workspace.open(Path(sys.argv[2]))
for path in sys.argv[3:]:
    try:
        session = runtime.load(own_form(runtime, Path(path), workspace))
        session.run(random_inputs(settle(session.inputs, 1, {}).specs, 1, 0))
        answer = None
    except EdgeKitError as fault:
        answer = str(fault)
    print("\\nANSWER", json.dumps(answer), flush=True)
"""


def load_each(runtime: str, paths: list[Path], workspace: Path) -> dict[Path, str | None]:
    """Load and run files in one process, and in a new one those after a file that it died of.

    Returns:
        What each is refused with; the signal where the engine died; None where it ran.
    """
    answers: dict[Path, str | None] = {}
    while len(answers) < len(paths):
        rest = [str(path) for path in paths[len(answers) :]]
        done = subprocess.run(
            [sys.executable, "-c", LOADER, runtime, str(workspace), *rest], cwd=ROOT, capture_output=True, text=True
        )
        given = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
        answers.update(zip(paths[len(answers) :], given, strict=False))
        if len(given) < len(rest):
            assert done.returncode < 0, done.stderr  # a signal, and no exception that is not ours
            answers[paths[len(answers)]] = f"{rest[len(given)]} killed by signal {-done.returncode}"
    return answers


@pytest.mark.parametrize("name", [name for name in runtime_names() if name not in READS_NOTHING])
def test_a_hostile_file_is_one_line(name: str, tmp_path: Path) -> None:
    try:
        runtime = get_runtime(name)
    except MissingDependency as fault:
        pytest.skip(str(fault))
    paths: list[Path] = []
    for suffix in reads(runtime.name):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        paths += {**common(suffix, folder), **MAKERS[suffix](folder)}.values()
    for graph, text in load_each(name, paths, tmp_path / "workspace").items():
        assert text, f"{graph.name} was run"
        assert len(text.splitlines()) == 1
        assert "Traceback" not in text
        assert len(text) < LONGEST + len(str(graph)) + 100
        assert graph.stem in text  # a fault names its file
        assert name not in SURVIVE or "signal" not in text


def test_every_form_that_a_runtime_reads_has_hostile_files() -> None:
    for name in runtime_names():
        try:
            assert set(reads(name)) <= set(MAKERS)
        except MissingDependency:
            continue
