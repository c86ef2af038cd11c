"""A bench on a board: the real ssh client against an ssh server of ours on loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import numpy as np
import pytest

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from runtimes.bench import BenchSettings, BenchTarget, bench_models
from runtimes.board import SSH_VARIABLE, STORE, Board
from runtimes.isolated import Isolated, Model
from runtimes.timing import TimingPlan

PLAN = TimingPlan(warmup=1, repeats=5)
WriteGraph = Callable[..., Path]


async def pump(source: Any, sink: Any) -> None:
    """Hand on what comes until there is no more."""
    try:
        while block := await source.read(1 << 16):
            sink.write(block)
            await sink.drain()
    except (OSError, asyncssh.Error):
        pass  # the other side has gone


class Loopback:
    """An ssh server that runs commands in a home folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.commands: list[str] = []
        self.loop = asyncio.new_event_loop()
        key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "key").write_bytes(key.export_private_key())
        (folder / "key").chmod(0o600)
        (folder / "authorized").write_bytes(key.export_public_key())
        self._listener = self.loop.run_until_complete(
            asyncssh.listen(
                "127.0.0.1",
                0,
                server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
                authorized_client_keys=str(folder / "authorized"),
                process_factory=self._serve,
                encoding=None,
            )
        )
        self.port = self._listener.get_port()
        options = f"-F none -i {folder / 'key'} -o UserKnownHostsFile={folder / 'known'}"
        self.ssh = f"ssh {options} -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes"
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        child = await asyncio.create_subprocess_shell(
            f"echo welcome to the board; {command}",
            cwd=self.home,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await self._relay(process, child)
        finally:
            # Left open, it would complain when it is collected, in the middle of some other test.
            child._transport.close()

    async def _relay(self, process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
        assert child.stdin and child.stdout and child.stderr
        feeding = asyncio.ensure_future(pump(process.stdin, child.stdin))
        feeding.add_done_callback(lambda _: child.stdin and child.stdin.close())
        await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
        code = await child.wait()
        feeding.cancel()
        process.exit(code if code >= 0 else 128 - code)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        gc.collect()  # what is left of its processes wants the loop once more
        self.loop.close()

    async def _close(self) -> None:
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    assert shutil.which("ssh"), "these tests need an ssh client: apt install openssh-client"
    server = Loopback(tmp_path)
    monkeypatch.setenv(SSH_VARIABLE, server.ssh)
    yield server
    server.stop()


@pytest.fixture
def board(loopback: Loopback) -> Board:
    return Board(f"ssh://pi@127.0.0.1:{loopback.port}", sys.executable)


def test_a_bench_on_a_board_gives_the_record_of_one_here(
    board: Board, loopback: Loopback, write_graph: WriteGraph
) -> None:
    graph = write_graph()
    report = bench_models([BenchTarget.of_graph("m", graph)], BenchSettings(PLAN, host=board))
    [row] = report.rows
    assert (row.model, row.runtime, row.size_bytes) == ("m", "onnx", graph.stat().st_size)
    assert row.latency.input_shape == {"x": [1, 3]}
    assert report.machine["host"] == board.name
    copied = sorted(path.name for path in (loopback.home / STORE).rglob("*.onnx"))
    assert copied == ["relu.onnx"]


def test_a_model_on_a_board_answers_what_it_answers_here(board: Board, write_graph: WriteGraph) -> None:
    with Isolated(Model("onnx", {"main": write_graph()}), board) as there:
        answer = there.session("main").run({"x": np.array([[-1, 0, 2]], np.float32)})
    assert answer["y"].tolist() == [[0, 0, 2]]


def test_only_our_code_and_the_model_are_copied_and_only_once(
    board: Board, loopback: Loopback, write_graph: WriteGraph
) -> None:
    graph = write_graph()
    (graph.parent / "secret.txt").write_text("not for the board")
    for again in (board, Board(board.name, sys.executable)):
        with Isolated(Model("onnx", {"main": graph}), again):
            pass
    folders = {path.name for path in (loopback.home / STORE).iterdir()}
    assert len(folders) == 2  # the code and the graph
    assert sum("tar -xf" in command for command in loopback.commands) == 2
    assert not list(loopback.home.rglob("secret.txt"))
    tops = {path.name for path in (loopback.home / STORE).glob("*/*")}
    assert tops == {"edge_kit", "runtimes", "relu.onnx"}


def test_what_belongs_to_a_graph_comes_along(board: Board, loopback: Loopback, tmp_path: Path) -> None:
    for name in ("net.param", "net.bin", "network.bin"):
        (tmp_path / name).write_bytes(b"1")
    with Isolated(Model("null", {"main": tmp_path / "net.param"}), board):
        pass
    names = {path.name for path in (loopback.home / STORE).rglob("net*")}
    assert names == {"net.param", "net.bin"}


def test_an_engines_own_form_is_made_here(
    board: Board, loopback: Loopback, install: Callable[..., Path], engine_source: Callable[..., str], tmp_path: Path
) -> None:
    convert = "def convert(self, graph, folder): (folder / 'model.x').write_text('made')"
    source = engine_source("form")
    install("form", "form", source.replace("    def load", f"    form = 'model.x'\n    {convert}\n    def load"))
    (tmp_path / "g.onnx").write_bytes(b"1")
    # The board does not have the third party's runtime: what matters is what was brought there.
    with pytest.raises(UsageError, match="^unknown runtime 'form'"):
        Isolated(Model("form", {"main": tmp_path / "g.onnx"}, workspace=tmp_path / "w"), board)
    assert [path.read_text() for path in (loopback.home / STORE).rglob("model.x")] == ["made"]


@pytest.mark.parametrize(
    "address", ["pi@board", "ssh://", "ssh://-oProxyCommand=x", "ssh://h/path", "ssh://h:port", ""]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"^--on takes ssh://user@host or ssh://user@host:port, got "):
        Board(address)


def test_a_board_that_is_not_there_is_one_line(write_graph: WriteGraph) -> None:
    with pytest.raises(EdgeKitError, match=r"^ssh://127.0.0.1:1 cannot be reached: .*refused$"):
        Isolated(Model("onnx", {"main": write_graph()}), Board("ssh://127.0.0.1:1"))


def test_a_board_without_that_python_is_one_line(loopback: Loopback, write_graph: WriteGraph) -> None:
    board = Board(f"ssh://127.0.0.1:{loopback.port}", "python-of-old")
    with pytest.raises(EdgeKitError, match="has no Python with NumPy: .*python-of-old: .*not found$"):
        Isolated(Model("onnx", {"main": write_graph()}), board)


def test_faults_there_are_those_from_here(board: Board, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(BadData, match=r"^onnxruntime cannot load '.*bad\.onnx'"):
        Isolated(Model("onnx", {"main": tmp_path / "bad.onnx"}), board)
    with pytest.raises(BadData, match="^no such file: "):
        Isolated(Model("onnx", {"main": tmp_path / "none.onnx"}), board)
