"""How training computes, apart from what it computes: pieces, precision, devices."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_kit.core.errors import UsageError

CPU, GPU = "cpu", "gpu"
MOST_PROCESSES = 256  # on one machine; more is a slip of the hand
PORT = 6190  # where the first of several machines waits for the others


@dataclass(frozen=True, slots=True)
class Devices:
    """What a network is trained on: a process each, on each machine.

    Attributes:
        kind: `cpu` or `gpu`; empty for whatever Paddle takes by itself, in one process.
        numbers: Of the GPUs; 0, 1, ... of the processes on a CPU.
        hosts: IPv4 addresses of the machines, this one among them; empty for this one alone.
        host: Place of this machine among them.
    """

    kind: str = ""
    numbers: tuple[int, ...] = (0,)
    hosts: tuple[str, ...] = ()
    host: int = 0

    @classmethod
    def parse(cls, text: str | None, hosts: str | None = None, host: int | None = None) -> Devices:
        """Read `0,1,2,3` (GPUs), `cpu` or `cpu:2` (processes), and addresses with commas between them.

        Raises:
            UsageError: It reads otherwise, or several machines are given and not what each of them trains on.
        """
        kind, numbers = _read_devices(text)
        named = tuple(one.strip() for one in hosts.split(",")) if hosts else ()
        for one in named:
            if not _is_address(one):
                raise UsageError(f"--hosts takes IPv4 addresses with commas between them, got {one!r}")
        if named and not kind:
            raise UsageError("--hosts goes with --devices: what every machine trains on, 0,1 or cpu:2")
        if (host is None) != (len(named) < 2) or not 0 <= (host or 0) < max(len(named), 1):
            raise UsageError(
                f"--host is this machine's place among several --hosts, 0 the first; got {host} of {len(named)}"
            )
        return cls(kind, numbers, named, host or 0)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Devices:
        """Read back what `asdict` gave, from JSON too."""
        return cls(row["kind"], tuple(row["numbers"]), tuple(row["hosts"]), row["host"])

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)

    @property
    def processes(self) -> int:
        """On all machines."""
        return len(self.numbers) * max(len(self.hosts), 1)


@dataclass(frozen=True, slots=True)
class Compute:
    """How one process computes its share of a batch.

    Attributes:
        accumulate: Pieces it is computed in, one after another; memory falls by so much. The result is that of the
            whole share, but for batch norm, which sees a piece at a time.
        amp: Mixed precision: float16 where that is safe, with a scaled loss (arXiv:1710.03740); on a GPU.
    """

    accumulate: int = 1
    amp: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise UsageError(f"--accumulate must be at least 1, got {self.accumulate}")

    def pieces(self, batch: int, processes: int) -> int:
        """How many samples are computed at once.

        Raises:
            UsageError: The batch does not divide into so many pieces.
        """
        parts = self.accumulate * processes
        if batch % parts:
            raise UsageError(
                f"a batch of {batch} does not divide into {parts} pieces ({processes} processes, {self.accumulate} "
                f"each); the next that does is {(batch // parts + 1) * parts}: pass --batch"
            )
        return batch // parts


def _read_devices(text: str | None) -> tuple[str, tuple[int, ...]]:
    if text is None:
        return "", (0,)
    kind, _, count = text.partition(":")
    if kind == CPU and (not count or (count.isascii() and count.isdigit() and 1 <= int(count) <= MOST_PROCESSES)):
        return CPU, tuple(range(int(count or 1)))
    parts = text.split(",")
    if all(part.isascii() and part.isdigit() for part in parts) and len(set(map(int, parts))) == len(parts):
        return GPU, tuple(int(part) for part in parts)
    raise UsageError(f"--devices takes numbers of GPUs (0,1,2,3), cpu, or processes on the CPU (cpu:2), got {text!r}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
