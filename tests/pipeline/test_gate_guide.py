"""docs/gate.md does what it says: its limits are read, and its workflow runs as it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_kit.pipeline.limits import KEYS, GateLimits, read_limits
from tests.conftest import ROOT, Cli, Result

GUIDE = (ROOT / "docs/gate.md").read_text()
LAX = "[models.toynet]\nmax_drop = 100\nmax_size_ratio = 100\nmax_latency_ratio = 100\n"


def block(mark: str, language: str) -> str:
    _, _, rest = GUIDE.partition(f"<!-- {mark} -->\n```{language}\n")
    text, fence, _ = rest.partition("\n```\n")
    assert fence, f"docs/gate.md shows no {mark}"
    return text + "\n"


def test_the_limits_it_shows_are_read_and_all_are_told(tmp_path: Path) -> None:
    (tmp_path / "edge-kit.toml").write_text(block("limits", "toml"))
    file = read_limits(tmp_path / "edge-kit.toml")
    assert file.of(("mobilenetv2",), "onnx") == GateLimits(0.5, 0.9, max_size_mb=2.6)
    assert file.of(("mobilenetv2",), "openvino").max_p95_ms == 4.0
    assert all(f"`{key}`" in GUIDE for key in KEYS)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What a user has checked out, and the command on the path as an installation leaves it."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/edge-kit"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_kit "$@"\n')
    command.chmod(0o755)
    (tmp_path / "edge-kit.toml").write_text(LAX)
    return tmp_path


def test_the_workflow_runs_as_written(toy_run: Result, session_cli: Cli, repository: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(block("workflow", "yaml"))
    job = workflow["jobs"]["gate"]
    runs = [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("pip install")]
    assert len(runs) == 2
    # The toy and a copy of the session's workspace in place of the model and an empty one; no other word is changed.
    assert set(job["env"]) == {"MODEL", "EDGE_KIT_HOME"}
    shutil.copytree(session_cli.workspace, repository / "copy", symlinks=True)
    env = {
        **session_cli.in_workspace(repository / "copy").env,
        "MODEL": "toynet",
        "PATH": f"{repository / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }

    def run(command: str) -> subprocess.CompletedProcess[str]:
        # GitHub runs a step so.
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
        return subprocess.run(shell, cwd=repository, env=env, capture_output=True, text=True)

    [update] = [line for line in GUIDE.splitlines() if "--update-baseline " in line and line.startswith("edge-kit")]
    for command in (update, *runs):
        done = run(command)
        assert done.returncode == 0, (command, done.stderr)
    assert (repository / "verify.xml").is_file()
    (repository / "edge-kit.toml").write_text("[models.toynet]\nmax_size_mb = 0.000001\n")
    done = run(runs[1])
    assert done.returncode == 3
    assert "int8 size (" in done.stderr
