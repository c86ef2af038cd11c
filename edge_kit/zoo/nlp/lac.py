"""LAC, Chinese lexical analysis: Bi-GRU-CRF. Jiao, Sun, Sun 2018, arXiv:1807.01882.

PaddlePaddle/models release/1.6, PaddleNLP/lexical_analysis. A tag a character says where words begin and what they are,
entities among them. The graph gives the scores of every tag and the transitions; the best path is found by the task.

The published weights come with the package jieba 0.42.1, for Paddle 1.x. Nothing of the network differs from what was
published; of the recipe, sentences are all shuffled and not in a window of 20,000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Uniform
from paddle.regularizer import L2Decay

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import MAIN, Array, GraphSpec, TensorSpec
from edge_kit.core.words import IDS, LENGTHS, CharacterPreprocess
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register
from edge_kit.zoo.nlp.gru import FILL, ResetFirstGRU

WIDTH, HIDDEN, LAYERS = 128, 128, 2
BOUND = 0.1  # of initial weights
TABLE_RATE = 2.0  # of the table and, by a slip of what was published, of the CRF
LENGTH = 64
WEIGHTS = "package:jieba/lac_small/model_baseline"
README = "PaddlePaddle/models release/1.6, PaddleNLP/lexical_analysis/README.md"
SEED = "PaddlePaddle/models release/1.5, README.md"


class Lac(nn.Layer):
    """Character ids (N, T) int64 and lengths (N,) int64 -> scores (N, T, tags) and transitions (N, tags + 2, tags).

    Transitions are the same for every sample: row 0 scores a first tag, row 1 a last one, row 2 + i what follows tag i.
    Scores behind a length mean nothing.
    """

    def __init__(self, num_classes: int, vocabulary: int) -> None:
        super().__init__()
        weight = ParamAttr(initializer=Uniform(-BOUND, BOUND), regularizer=L2Decay(1e-4))
        table = ParamAttr(initializer=Uniform(-BOUND, BOUND), learning_rate=TABLE_RATE)
        self.embedding = nn.Embedding(vocabulary, WIDTH, weight_attr=table)
        widths = [WIDTH, *[2 * HIDDEN] * (LAYERS - 1)]
        self.forward_gru, self.backward_gru = (
            nn.LayerList([ResetFirstGRU(width, HIDDEN, reverse, weight) for width in widths])
            for reverse in (False, True)
        )
        self.out = nn.Linear(2 * HIDDEN, num_classes, weight_attr=weight)
        self.transitions = self.create_parameter([num_classes + 2, num_classes], ParamAttr(learning_rate=TABLE_RATE))

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        places = paddle.arange(ids.shape[1], dtype="int64").unsqueeze(0)
        fill = (places >= lengths.unsqueeze(1)).astype("float32").unsqueeze(2) * FILL  # (N, T, 1)
        x = self.embedding(ids)
        for i in range(LAYERS):
            x = paddle.concat([self.forward_gru[i](x, fill), self.backward_gru[i](x, fill)], axis=2)
        none = (lengths * 0).astype("float32").reshape([-1, 1, 1])  # a graph's outputs have the batch's size
        return self.out(x), self.transitions.unsqueeze(0) + none


def adopt(published: Mapping[str, Array]) -> dict[str, Array]:
    """The names and shapes that this network has for what Paddle 1.x kept.

    Raises:
        BadData: It is no LAC of two layers.
    """
    if "crfw" not in published:
        return dict(published)
    own = {"embedding.weight": "word_emb", "out.weight": "fc_4.w_0", "out.bias": "fc_4.b_0", "transitions": "crfw"}
    try:
        found = {name: published[theirs] for name, theirs in own.items()}
        for i in range(2 * LAYERS):
            gru = f"{('forward', 'backward')[i % 2]}_gru.{i // 2}"
            weight, bias = published[f"gru_{i}.w_0"], published[f"gru_{i}.b_0"].reshape(-1)
            hidden = len(weight)
            both = 2 * hidden * hidden  # the gates' matrix lies before the candidate's, not beside it
            found |= {
                f"{gru}.project.weight": published[f"fc_{i}.w_0"],
                f"{gru}.project.bias": published[f"fc_{i}.b_0"].reshape(-1),
                f"{gru}.gates.weight": weight.reshape(-1)[:both].reshape(hidden, 2 * hidden),
                f"{gru}.candidate.weight": weight.reshape(-1)[both:].reshape(hidden, hidden),
                f"{gru}.gates.bias": bias[: 2 * hidden],
                f"{gru}.candidate.bias": bias[2 * hidden :],
            }
    except (KeyError, ValueError) as error:
        raise BadData(f"these are no weights of LAC as published: {error}") from None
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def graphs(preprocess: CharacterPreprocess) -> dict[str, GraphSpec]:
    """The one graph: `ids` (N, length) and `lengths` (N,) -> `emissions` and `transitions`, as `Lac` says."""
    ids = TensorSpec(IDS, ("N", preprocess.length), "int64")
    return {MAIN: GraphSpec((ids, TensorSpec(LENGTHS, ("N",), "int64")), ("emissions", "transitions"))}


PUBLISHED = Recipe(10, 300, 0.001, "constant", optimizer="adam", momentum=0.0)
# The published weights go on from where they are, to the segmentation of the newspaper; not done unless asked for.
MINI = replace(PUBLISHED, epochs=2, batch_size=32)

register(
    ZooEntry(
        id="lac",
        title="Lexical Analysis (LAC)",
        family="lexical_analysis",
        task="tag_text",
        paper="arXiv:1807.01882",
        licence="Apache-2.0; the weights come with jieba, MIT",
        source="PaddlePaddle/models release/1.6, PaddleNLP/lexical_analysis",
        data="lac",
        parameters=3_193_052,
        macs=32_391_168,
        published_sizes={"num_classes": 57, "vocabulary": 20_941},
        build=Lac,
        adopt=adopt,
        graphs=graphs,
        references=(
            Reference("LAC test (internal)", "F1", 88.4, "%", SEED),
            Reference("LAC test (internal)", "precision", 88.0, "%", SEED),
            Reference("LAC test (internal)", "recall", 88.7, "%", SEED),
        ),
        published=Setup(CharacterPreprocess(LENGTH), PUBLISHED, PUBLISHED, weights=WEIGHTS),
        mini=Setup(
            CharacterPreprocess(LENGTH),
            MINI,
            MINI,
            made=MiniSettings(train=2048, evaluation=1000),
            weights=WEIGHTS,
            finished=True,
        ),
    )
)
