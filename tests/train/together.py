"""A small training run whose losses are written down: `python -m tests.train.together OUT [fault]`, alone or launched.

The process of rank r writes OUT.r, JSON: losses and weights. With `fault`, the second process kills itself in step 3.
"""

import json
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import paddle
from paddle import nn

from edge_kit.core.tensors import Tensors
from edge_kit.data.dataset import shuffled
from edge_kit.tasks import TASKS
from edge_kit.train.compute import Compute
from edge_kit.train.peers import ALONE, Peers
from edge_kit.train.recipe import Recipe
from edge_kit.train.trainer import fit

BATCH, EPOCHS = 16, 2


class Samples:
    """Noise with a stripe for each of three classes; a sample is the same in every batch that it may be in."""

    name, published, labels, sizes = "samples", False, (), {"num_classes": 3}

    def train_size(self) -> int:
        return 96

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0):
        for places in shuffled(96, batch, epoch, seed, start):
            yield self.read(places, epoch)

    def read(self, places: list[int], epoch: int) -> Tensors:
        images = np.stack([np.random.default_rng([epoch, i]).normal(0, 0.3, (3, 8, 8)) for i in places])
        labels = np.array(places) % 3
        images[np.arange(len(places)), labels, ::2] += 3
        return {"image": images.astype(np.float32), "label": labels}


def net_with(norm: bool) -> nn.Layer:
    """Convolutions, one depthwise, with batch norm or without."""
    paddle.seed(5)
    layers: list[nn.Layer] = []
    for given, out, groups in ((3, 8, 1), (8, 8, 8), (8, 16, 1)):
        layers.append(nn.Conv2D(given, out, 3, padding=1, groups=groups, bias_attr=False if norm else None))
        layers += [nn.BatchNorm2D(out)] if norm else []
        layers.append(nn.ReLU6())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(16, 3))


RECIPE = Recipe(EPOCHS, BATCH, 0.1, warmup_steps=2, weight_decay=1e-4, label_smoothing=0.1, mixup=0.2, ema=0.9)


def trained(norm: bool, peers: Peers = ALONE, compute: Compute | None = None, fault: bool = False):
    """Losses of every step, and the weights at the end."""

    def report(done: int, total: int, note: str = "") -> None:
        if fault and peers.rank == 1 and done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    net, losses = net_with(norm), []
    with TemporaryDirectory() as scratch:
        fit(net, TASKS.get("classify"), Samples(), RECIPE, Path(scratch), report, compute, peers, curve=losses)
    return losses, {name: value.numpy() for name, value in net.state_dict().items()}


def main() -> None:
    peers = Peers.join()
    document = {}
    for norm in (True, False):
        losses, weights = trained(norm, peers, fault="fault" in sys.argv)
        document[str(norm)] = {"losses": losses, "weights": {name: w.tolist() for name, w in weights.items()}}
    Path(f"{sys.argv[1]}.{peers.rank}").write_text(json.dumps(document))
    peers.leave()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
