"""The processes that train one network together, each on its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.autograd import PyLayer


@dataclass(frozen=True, slots=True)
class Peers:
    """One process among all that train. A lone one talks to nobody.

    Attributes:
        rank: Of this process, from 0.
        count: Processes on all machines.
        place: Of this process on its machine; the first there writes files.
        here: Processes on this machine.
    """

    rank: int = 0
    count: int = 1
    place: int = 0
    here: int = 1

    @classmethod
    def join(cls) -> Peers:
        """Meet the others that `paddle.distributed.launch` started: NCCL between GPUs, Gloo between CPUs."""
        paddle.distributed.init_parallel_env()
        place, here = int(os.environ["PADDLE_LOCAL_RANK"]), int(os.environ["PADDLE_LOCAL_SIZE"])
        return cls(paddle.distributed.get_rank(), paddle.distributed.get_world_size(), place, here)

    @property
    def writes(self) -> bool:
        """Whether this process writes files for its machine."""
        return self.place == 0

    def mean_gradients(self, parameters: Iterable[Any]) -> None:
        """Give every parameter the mean of its gradients in all processes, in one exchange."""
        learning = [one for one in parameters if one.grad is not None] if self.count > 1 else []
        if not learning:
            return
        flat = paddle.concat([one.grad.flatten() for one in learning])
        paddle.distributed.all_reduce(flat)
        flat = flat / self.count
        parts = paddle.split(flat, [int(one.size) for one in learning])
        for one, part in zip(learning, parts, strict=True):
            one.grad = part.reshape(one.shape)

    def mean(self, value: float) -> float:
        """Of a number over all processes."""
        if self.count == 1:
            return value
        total = paddle.to_tensor([value], dtype="float32")
        paddle.distributed.all_reduce(total)
        return float(total) / self.count

    def gathered(self, own: Any) -> Any:
        """The tensors of all processes, by rank: (...) -> (count, ...); gradients flow back to each."""
        zero = paddle.zeros_like(own)
        return _Sum.apply(paddle.stack([own if rank == self.rank else zero for rank in range(self.count)]))

    def share_weights(self, net: Any) -> None:
        """Give everybody the weights of the first."""
        if self.count > 1:
            for value in net.state_dict().values():
                paddle.distributed.broadcast(value, 0)

    def file_of_first(self, path: Path) -> Path | None:
        """The file that the first process has at `path`, a copy beside it elsewhere; None where it has none."""
        if self.count == 1:
            return path if path.exists() else None
        content = path.read_bytes() if self.rank == 0 and path.exists() else b""
        size = paddle.to_tensor([len(content)], dtype="int64")
        paddle.distributed.broadcast(size, 0)
        if not int(size):
            return None
        data = np.frombuffer(content, np.uint8) if self.rank == 0 else np.zeros(int(size), np.uint8)
        sent = paddle.to_tensor(data)
        paddle.distributed.broadcast(sent, 0)
        if self.rank == 0:
            return path
        copy = path.with_name(f"{path.stem}-{self.rank}{path.suffix}")
        copy.write_bytes(sent.numpy().tobytes())
        return copy

    def leave(self) -> None:
        """Wait until everybody is done: the first holds what the others talk through."""
        if self.count > 1:
            paddle.distributed.barrier()


class _Sum(PyLayer):
    """The sum over all processes, and of gradients likewise: a share of one loss comes back from each."""

    @staticmethod
    def forward(context: Any, own: Any) -> Any:
        total = own.clone()
        paddle.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        total = gradient.clone()
        paddle.distributed.all_reduce(total)
        return total


ALONE = Peers()
