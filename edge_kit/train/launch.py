"""Starts one process a device by `paddle.distributed.launch`, hears them, and ends with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge_kit.train.compute import CPU, PORT, Devices

POLL_SECONDS = 0.1


def launch(arguments: Sequence[str], devices: Devices, heard: Path, hear: Callable[[str], None]) -> int:
    """Run a Python module in a process for each of this machine's devices, until all are done or one has failed.

    Their standard input closes when this process ends, however it does; they are to end then. What they print goes to
    ours.

    Args:
        arguments: Of Python: `-m module ...`.
        heard: File that they append lines to.
        hear: Is given each of these lines.

    Returns:
        The exit code of `paddle.distributed.launch`.
    """
    heard.write_text("")
    logs = heard.with_suffix(".logs")
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(mode=0o700)  # the engine writes our whole environment into it
    engine = subprocess.Popen(
        [*_engine(devices, logs), sys.executable, "-u", *arguments],
        stdin=subprocess.PIPE,
        env={**os.environ, **_environment(devices)},
    )
    try:
        with heard.open(encoding="utf-8") as file:
            rest = ""
            while engine.poll() is None:
                rest = _relay(rest + file.read(), hear)
                time.sleep(POLL_SECONDS)
            _relay(rest + file.read(), hear)
    finally:
        assert engine.stdin is not None  # it is a pipe
        engine.stdin.close()
        _print_logs(logs)
        shutil.rmtree(logs, ignore_errors=True)
    return engine.returncode


def _engine(devices: Devices, logs: Path) -> list[str]:
    command = [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", str(logs), "--enable_gpu_log", "False"]
    if devices.kind == CPU:
        command += ["--nproc_per_node", str(len(devices.numbers))]
    else:
        command += ["--devices", ",".join(map(str, devices.numbers))]
    if devices.hosts:
        command += ["--master", f"{devices.hosts[0]}:{PORT}", "--nnodes", str(len(devices.hosts))]
        return [*command, "--rank", str(devices.host), "--host", devices.hosts[devices.host]]
    return [*command, "--host", "127.0.0.1"]


def _environment(devices: Devices) -> Mapping[str, str]:
    """What the engine needs to be told so that it takes no GPU where there are some."""
    import paddle

    if devices.kind != CPU or not paddle.is_compiled_with_cuda():
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join("-1" for _ in devices.numbers), "PADDLE_DISTRI_BACKEND": "gloo"}


def _relay(text: str, hear: Callable[[str], None]) -> str:
    """Pass whole lines on; gives the start of the one that is being written."""
    *lines, rest = text.split("\n")
    for line in lines:
        hear(line)
    return rest


def _print_logs(logs: Path) -> None:
    for path in sorted(logs.glob("workerlog.*")):
        print(f"--- process {path.suffix[1:]}", flush=True)
        print(path.read_text(errors="replace"), flush=True)
