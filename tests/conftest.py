"""What many tests share: the command line as a user starts it, and a toy model as a third party brings it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import edge_kit  # noqa: F401  # first of all: it sets what Paddle reads when it is imported, by whichever test

ROOT = Path(__file__).parent.parent

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


def from_guide(file: str) -> str:
    """The code block that CONTRIBUTING.md shows under a file's name: the guide is what the tests follow."""
    _, _, rest = GUIDE.partition(f"`{file}`:\n\n```python\n")
    code, fence, _ = rest.partition("\n```\n")
    assert fence, f"CONTRIBUTING.md shows no {file}"
    return code + "\n"


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def is_one_line(self) -> bool:
        """Whether it failed as a user wants it: one line from us on stderr, after the lines of finished stages."""
        lines = [line for line in self.err.splitlines() if line.strip() and not line.startswith("  ")]
        return len(lines) == 1 and lines[0].startswith("edge-kit: ")


@dataclass(frozen=True)
class Cli:
    """The command line in an environment of its own."""

    env: dict[str, str]

    @property
    def workspace(self) -> Path:
        return Path(self.env["EDGE_KIT_HOME"])

    def __call__(self, *args: str, **env: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "edge_kit", *args],
            env={**self.env, **env},
            capture_output=True,
            text=True,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edge_kit", *args],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def logs(self) -> str:
        folder = self.workspace / "logs"
        return "".join(path.read_text() for path in sorted(folder.glob("*.log"))) if folder.is_dir() else ""

    def with_packages(self, site: Path) -> Cli:
        """The same, with what lies in a folder installed."""
        return Cli({**self.env, "PYTHONPATH": f"{self.env['PYTHONPATH']}{os.pathsep}{site}"})

    def in_workspace(self, place: Path) -> Cli:
        return Cli({**self.env, "EDGE_KIT_HOME": str(place)})


def install_distribution(folder: Path, name: str, group: str, target: str, code: str) -> None:
    """What `pip install` of a one-file package with one entry point leaves behind."""
    (folder / f"{target.split(':')[0]}.py").write_text(code)
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    install_distribution(folder, "toynet", "edge_kit.models", "toy_model", from_guide("toy_model.py"))
    return folder


@pytest.fixture(scope="session")
def session_cli(plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """One workspace for the whole session: what one test made, another reuses."""
    path = os.pathsep.join(filter(None, [str(ROOT), str(plugins), os.environ.get("PYTHONPATH")]))
    home = str(tmp_path_factory.mktemp("workspace"))
    return Cli({**os.environ, "PYTHONPATH": path, "EDGE_KIT_HOME": home, "COLUMNS": "160"})


@pytest.fixture
def cli(session_cli: Cli, tmp_path: Path) -> Cli:
    """A workspace of its own."""
    return session_cli.in_workspace(tmp_path / "workspace")


# The toy's INT8 file is all scales and no weights, and it runs in microseconds: its ratios mean nothing.
ANY_RATIO = ("--max-drop", "100", "--max-size-ratio", "100", "--max-latency-ratio", "100")
TOY = ("compress", "toynet", "--calibration", "40", *ANY_RATIO)


@pytest.fixture(scope="session")
def toy_run(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """`compress` of the toy model, as JSON; its bundle is a copy, as other runs let the name mean another one."""
    done = session_cli(*TOY, "--json")
    if done.code:
        return done
    made, kept = done.json["bundle"], tmp_path_factory.mktemp("toy") / "toynet"
    shutil.copytree(made, kept)
    return replace(done, out=done.out.replace(json.dumps(made), json.dumps(str(kept))))


@pytest.fixture(scope="session")
def mobilenetv2_run(session_cli: Cli) -> Result:
    """The main job with no argument, as a user starts it."""
    return session_cli("compress", "mobilenetv2", "--json")
