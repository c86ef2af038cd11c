"""Pictures of one look into another, learnt from unpaired ones: two generators against two discriminators.

There is no metric: nobody published one. PSNR and SSIM of its pictures tell how near INT8 is to full precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

A_TO_B, B_TO_A = "a_to_b", "b_to_a"
GENERATORS, DISCRIMINATORS = "generators", "discriminators"
CYCLE, IDENTITY = 10.0, 0.5  # weight of what comes back, and beside it of what should stay as it is
POOL = 50  # pictures that were made before and are judged again
BATCH = 4
RANGE = 2.0  # of values in -1..1
MOST_DB = 100.0  # what equal pictures are given
WINDOW = 7  # pixels, of SSIM


class Translate:
    """Graphs `a_to_b` (`a` -> `fake_b`) and `b_to_a` (`b` -> `fake_a`), all (N, 3, H, W) float32 in -1..1.

    The network has layers `a_to_b`, `b_to_a`, `judge_a` and `judge_b`.

    Source: arXiv:1703.10593, sections 3.1, 3.2 and 4; least squares in place of logarithms.
    """

    name = "translate"

    def groups(self, net: Any) -> dict[str, tuple[Any, ...]]:
        """Generators first: discriminators are shown what these made before they learnt from it."""
        return {GENERATORS: (net.a_to_b, net.b_to_a), DISCRIMINATORS: (net.judge_a, net.judge_b)}

    def loss(self, net: Any, batch: Any) -> Any:
        return self.group_loss(GENERATORS, net, batch, {})

    def group_loss(self, group: str, net: Any, batch: Any, memory: dict[str, Array]) -> Any:
        return _deceive(net, batch, memory) if group == GENERATORS else _judge(net, batch, memory)

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {A_TO_B: {"a": batch["a"]}, B_TO_A: {"b": batch["b"]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        return ()

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        """PSNR over all pictures of both directions."""
        squares, values, seen = 0.0, 0, 0
        for wanted, got in self._pictures(reference, candidate, dataset, samples):
            squares += float(((wanted.astype(np.float64) - got) ** 2).sum())
            values, seen = values + wanted.size, seen + 1
        return Metric("PSNR", psnr(squares / values), "dB", f"{dataset.name} test", seen)

    def likeness(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> tuple[Metric, ...]:
        """The mean SSIM of the same pictures."""
        found = [ssim(*pair) for pair in self._pictures(reference, candidate, dataset, samples)]
        return (Metric("SSIM", float(np.mean(found)), "", f"{dataset.name} test", len(found)),)

    def _pictures(
        self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int
    ) -> Iterator[tuple[Array, Array]]:
        """What two versions make of the same pictures, both directions, (3, H, W) each."""
        seen = 0
        for batch in dataset.eval_batches(BATCH):
            for graph, fed in self.feeds(reference, batch).items():
                other = candidate[graph](fed)
                for name, wanted in reference[graph](fed).items():
                    yield from zip(np.asarray(wanted), np.asarray(other[name]), strict=True)
            seen += len(batch["a"])
            if seen >= samples:
                return


def _deceive(net: Any, batch: Any, memory: dict[str, Array]) -> Any:
    """The loss of the generators; what they made is left for the discriminators."""
    a, b = batch["a"], batch["b"]
    fake_b, fake_a = net.a_to_b(a), net.b_to_a(b)
    memory["fake_a"], memory["fake_b"] = fake_a.numpy(), fake_b.numpy()
    deceived = (net.judge_b(fake_b) - 1).square().mean() + (net.judge_a(fake_a) - 1).square().mean()
    back = (net.b_to_a(fake_b) - a).abs().mean() + (net.a_to_b(fake_a) - b).abs().mean()
    same = (net.a_to_b(b) - b).abs().mean() + (net.b_to_a(a) - a).abs().mean()
    return deceived + CYCLE * (back + IDENTITY * same)


def _judge(net: Any, batch: Any, memory: dict[str, Array]) -> Any:
    """The loss of both discriminators."""
    import paddle

    step = memory["step"] = memory.get("step", np.zeros(1, np.int64)) + 1
    loss = 0.0
    for place, (side, judge) in enumerate((("a", net.judge_a), ("b", net.judge_b))):
        shown = _from_pool(memory, side, np.random.default_rng([int(step[0]), place]))
        fake = judge(paddle.to_tensor(shown))
        loss = loss + 0.5 * (fake.square().mean() + (judge(batch[side]) - 1).square().mean())
    return loss


def _from_pool(memory: dict[str, Array], side: str, rng: np.random.Generator) -> Array:
    """The pictures just made, some of them exchanged for older ones, so that discriminators do not forget those.

    Source: arXiv:1703.10593, section 4; a picture is exchanged with probability one half.
    """
    made, pool = memory.pop(f"fake_{side}"), memory.get(f"pool_{side}")
    shown = made.copy()
    for i, picture in enumerate(made):
        if pool is None or len(pool) < POOL:
            pool = picture[None] if pool is None else np.concatenate([pool, picture[None]])
        elif rng.random() > 0.5:
            place = int(rng.integers(POOL))
            shown[i] = pool[place]
            pool = np.concatenate([pool[:place], picture[None], pool[place + 1 :]])
    assert pool is not None
    memory[f"pool_{side}"] = pool
    return shown


def as_picture(made: Array) -> Image:
    """What a generator made, (3, H, W) RGB in -1..1, as (H, W, 3) uint8 BGR."""
    values = np.rint((np.asarray(made, np.float32) + 1) * 127.5)
    return np.ascontiguousarray(np.clip(values, 0, 255).astype(np.uint8).transpose(1, 2, 0)[..., ::-1])


def psnr(mean_square: float) -> float:
    """Peak signal to noise ratio in dB of pictures in -1..1, from their mean squared difference; at most `MOST_DB`."""
    return min(10 * float(np.log10(RANGE**2 / max(mean_square, 1e-300))), MOST_DB)


def ssim(first: Array, second: Array) -> float:
    """Mean structural similarity of two (3, H, W) pictures in -1..1; 1 where they are equal.

    Source: Wang et al. 2004, Image quality assessment, equation 13, with uniform windows.
    """
    small, contrast = 0.01**2, 0.03**2  # of values in 0..1: that a mean is not negative is taken for granted

    def mean(planes: Array) -> Array:
        # Windows that reach over the edge do not count.
        edge = WINDOW // 2
        blurred: Array = cv2.blur(planes.transpose(1, 2, 0), (WINDOW, WINDOW))[edge:-edge, edge:-edge]
        return blurred

    x, y = ((one.astype(np.float64) + 1) / 2 for one in (first, second))
    mx, my = mean(x), mean(y)
    vx: Array = mean(x * x) - mx * mx
    vy: Array = mean(y * y) - my * my
    both: Array = mean(x * y) - mx * my
    likeness = (2 * mx * my + small) * (2 * both + contrast)
    return float((likeness / ((mx * mx + my * my + small) * (vx + vy + contrast))).mean())


TASKS.add("translate", Translate())
