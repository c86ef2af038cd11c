"""What a machine was busy with while something was timed on it: stolen time, load, frequency."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runtimes.targets import cpu_name

STEAL_PERCENT = 2.0
FREQUENCY_SPREAD = 1.1
GPU_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


@dataclass(frozen=True, slots=True)
class Conditions:
    """One look at a machine; what it cannot tell is 0.

    Attributes:
        cpu: The processor's model name.
        cores: Of the machine; this process may be kept on fewer.
        stolen: Ticks that the hypervisor gave to others, since the machine started.
        ticks: Of all kinds, since the machine started.
        load: Processes that ran or waited, mean of the last minute.
        mhz: Frequency of the first core now.
        idle: Ticks in which nothing ran, since the machine started.
        gpu: Name of the first GPU and version of its driver, where one was asked for and NVIDIA's tool tells.
    """

    cpu: str
    cores: int
    stolen: int
    ticks: int
    load: float
    mhz: float
    idle: int = 0
    gpu: str = ""


def look(proc: Path = Path("/proc"), sys: Path = Path("/sys"), gpu: bool = False) -> Conditions:
    """Read the conditions of this machine, and ask what GPU it has where one is at work."""
    ticks = _ticks(proc / "stat")
    load = _first_number(proc / "loadavg")
    khz = _first_number(sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return Conditions(
        cpu=cpu_name(proc / "cpuinfo"),
        cores=os.cpu_count() or 1,
        stolen=ticks[7] if len(ticks) > 7 else 0,
        ticks=sum(ticks[:8]),
        load=load,
        mhz=khz / 1000,
        idle=sum(ticks[3:5]),
        gpu=_gpu_name(GPU_QUERY) if gpu else "",
    )


def noise(before: Conditions, after: Conditions, busy: int) -> tuple[str, ...]:
    """What may have disturbed a measurement between two looks; a line each, none where all was quiet.

    Args:
        busy: Cores that the measurement itself kept busy.
    """
    found = []
    ticks = after.ticks - before.ticks
    stolen = 100 * (after.stolen - before.stolen) / ticks if ticks > 0 else 0.0
    if stolen > STEAL_PERCENT:
        found.append(f"{stolen:.0f} % of the processor was taken by other virtual machines")
    if before.load + busy > before.cores + 0.5:
        found.append(f"{before.load:.1f} processes were running on {before.cores} cores before it began")
    if before.mhz and after.mhz:
        low, high = sorted((before.mhz, after.mhz))
        if high > FREQUENCY_SPREAD * low:
            found.append(f"the frequency went from {before.mhz:.0f} to {after.mhz:.0f} MHz")
    return tuple(found)


def others(before: Conditions, after: Conditions, busy: int) -> float:
    """How many cores were busy with other work between two looks.

    Args:
        busy: Cores that the measurement itself kept busy.
    """
    ticks = after.ticks - before.ticks
    if ticks <= 0:
        return 0.0
    return max(0.0, before.cores * (1 - (after.idle - before.idle) / ticks) - busy)


@cache  # a long bench looks again every second, and a process more would disturb it
def _gpu_name(query: tuple[str, ...]) -> str:
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    first, *_ = told.splitlines() or [""]
    return ", driver ".join(part.strip() for part in first.split(",", 1))


def _ticks(stat: Path) -> list[int]:
    """Of the line of all processors: user, nice, system, idle, iowait, irq, softirq, steal."""
    try:
        first = stat.read_text().split("\n", 1)[0].split()
        return [int(field) for field in first[1:]]
    except (OSError, ValueError):
        return []


def _first_number(path: Path) -> float:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
