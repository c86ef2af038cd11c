"""Deep Interest Network. Zhou et al. 2018, arXiv:1706.06978, as PaddlePaddle/models release/1.6, PaddleRec/din has it.

That is the paper's network with softmax over the history, sigmoids for its Dice and no adaptive regulariser. Of the
published recipe the clipping of gradients and the fall of the rate to 0.2 at step 410,000 are left out, and the target
is given once, not repeated along the history.
"""

from __future__ import annotations

from dataclasses import replace

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional
from paddle.nn.initializer import Constant

from edge_kit.core.behaviour import CATEGORIES, ITEMS, LENGTHS, TARGET, TARGET_CATEGORY, BehaviourPreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

HALF = 64  # width of an item's table and of a category's
WIDTH = 2 * HALF
HIDDEN = (80, 40)
FAR = -1e9  # of what fills a history up, before softmax
README = "PaddlePaddle/models release/1.6, PaddleRec/din/README.md"


class Din(nn.Layer):
    """Items and categories of a history (N, T), its lengths (N,), target and its category (N,) -> logit (N, 1)."""

    def __init__(self, items: int, categories: int) -> None:
        super().__init__()
        self.item = nn.Embedding(items, HALF)
        self.category = nn.Embedding(categories, HALF)
        self.bias = nn.Embedding(items, 1, weight_attr=ParamAttr(initializer=Constant(0.0)))
        self.attention = _layers(4 * WIDTH)
        self.interest = nn.Linear(WIDTH, WIDTH)
        self.click = _layers(2 * WIDTH)

    def forward(self, items: Tensor, categories: Tensor, lengths: Tensor, target: Tensor, kind: Tensor) -> Tensor:
        length = items.shape[1]
        history = paddle.concat([self.item(items), self.category(categories)], axis=2)
        wanted = paddle.concat([self.item(target), self.category(kind)], axis=1)  # (N, width)
        beside = paddle.tile(wanted.unsqueeze(1), [1, length, 1])
        seen = paddle.concat([history, beside, history - beside, history * beside], axis=2)
        # As one matrix of all items, which INT8 kernels take.
        scores = self.attention(seen.reshape([-1, 4 * WIDTH])).reshape([-1, length])
        behind = paddle.arange(length, dtype="int64").unsqueeze(0) >= lengths.unsqueeze(1)
        shares = functional.softmax((scores + behind.astype("float32") * FAR) * WIDTH**-0.5, axis=1)
        interest = self.interest((history * shares.unsqueeze(2)).sum(1))
        return self.click(paddle.concat([interest, wanted], axis=1)) + self.bias(target)


def _layers(width: int) -> nn.Sequential:
    first, second = HIDDEN
    hidden = [nn.Linear(width, first), nn.Sigmoid(), nn.Linear(first, second), nn.Sigmoid()]
    return nn.Sequential(*hidden, nn.Linear(second, 1))


def graphs(preprocess: BehaviourPreprocess) -> dict[str, GraphSpec]:
    """The one graph: what `BehaviourPreprocess` gives -> `click` (N, 1), whose sigmoid is the probability."""
    history = [TensorSpec(name, ("N", preprocess.length), "int64") for name in (ITEMS, CATEGORIES)]
    others = [TensorSpec(name, ("N",), "int64") for name in (LENGTHS, TARGET, TARGET_CATEGORY)]
    return {MAIN: GraphSpec((*history, *others), ("click",))}


PUBLISHED = Recipe(6, 32, 0.85, "constant", momentum=0.0)
# A hundredth of the published steps: Adam gets there.
MINI = replace(PUBLISHED, epochs=4, batch_size=64, learning_rate=0.002, optimizer="adam")

register(
    ZooEntry(
        id="din",
        title="DeepInterestNetwork",
        family="recommendation",
        task="click",
        paper="arXiv:1706.06978",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleRec/din",
        data="amazon",
        parameters=4_231_003,
        macs=4_460_104,
        published_sizes={"items": 63_001, "categories": 801},
        build=Din,
        graphs=graphs,
        references=(
            Reference("Amazon Electronics test", "AUC", 86.3794952818, "%", README),
            Reference("Amazon Electronics test", "log loss", 0.47005194, "nats", README),
        ),
        published=Setup(BehaviourPreprocess(100), PUBLISHED, PUBLISHED),
        mini=Setup(BehaviourPreprocess(20), MINI, MINI, made=MiniSettings(train=20_000, evaluation=2000)),
    )
)
