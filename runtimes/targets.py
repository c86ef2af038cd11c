"""What a device's INT8 kernels want, and which target this machine is."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """The INT8 arithmetic of one kind of device.

    Attributes:
        name: As given to `--target`.
        unsigned_activations: Kernels multiply U8 activations by S8 weights (x86), not S8 by S8 (ARM).
        saturating_pairs: U8 x S8 products are added in pairs in int16, which can saturate (x86 without VNNI).
        why: One line for people.
    """

    name: str
    unsigned_activations: bool
    saturating_pairs: bool
    why: str


TARGETS = {
    target.name: target
    for target in (
        Target(
            "x86-vnni",
            True,
            False,
            "U8 x S8 accumulated in int32 (vpdpbusd): full 8-bit weights are exact",
        ),
        Target(
            "x86-avx2",
            True,
            True,
            "U8 x S8 pairs added in int16 (vpmaddubsw): weights are kept from saturating",
        ),
        Target("arm64", False, False, "S8 x S8 (sdot or smull): signed activations"),
    )
}


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction set flags the kernel reports; empty where there is no such file."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name, or its architecture where the kernel gives none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(names, platform.machine())


def this_machine() -> Target:
    """The target of the machine this runs on, read and not asked for."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return TARGETS["arm64"]
    vnni = {"avx512_vnni", "avx_vnni"} & cpu_flags()
    return TARGETS["x86-vnni" if vnni else "x86-avx2"]
