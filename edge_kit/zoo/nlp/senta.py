"""Senta, sentiment of Chinese texts: the Bi-LSTM. PaddlePaddle/models release/1.6, PaddleNLP/sentiment_classification.

Differs from what was published in two places. `nn.LSTM` has no peepholes, 768 parameters of 4,546,594, as no exporter
writes them. And the backward layer's answer is taken from the first word, where it has read the whole text; published
was the last, where it has read one word.
"""

from __future__ import annotations

from dataclasses import replace

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Constant, XavierUniform

from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.core.words import IDS, LENGTHS, WordPreprocess
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

WIDTH, HIDDEN, HEAD = 128, 128, 96
TABLE_RATE = 30.0  # of the table, over that of everything else
README = "PaddlePaddle/models release/1.6, PaddleNLP/sentiment_classification/README.md"


class SentaBiLSTM(nn.Layer):
    """Word ids (N, T) int64 and lengths (N,) int64 -> logits (N, classes); what lies behind a length is not read.

    The backward layer is a forward one that reads the words in reverse: exporters drop the lengths given to a layer.
    """

    def __init__(self, num_classes: int, vocabulary: int) -> None:
        super().__init__()
        table = ParamAttr(initializer=XavierUniform(), learning_rate=TABLE_RATE)
        self.embedding = nn.Embedding(vocabulary, WIDTH, weight_attr=table)
        self.forward_lstm = _lstm()
        self.backward_lstm = _lstm()
        self.fc = nn.Linear(2 * HIDDEN, HEAD)
        self.out = nn.Linear(HEAD, num_classes)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        places = paddle.arange(ids.shape[1], dtype="int64").unsqueeze(0)
        last = (lengths - 1).unsqueeze(1)
        reverse = paddle.take_along_axis(ids, paddle.clip(last - places, 0), 1, broadcast=False)
        ends_here = (places == last).astype("float32").unsqueeze(2)  # (N, T, 1)
        ends = [
            (lstm(self.embedding(words))[0] * ends_here).sum(1)
            for lstm, words in ((self.forward_lstm, ids), (self.backward_lstm, reverse))
        ]
        return self.out(paddle.tanh(self.fc(paddle.concat(ends, axis=1))))


def _lstm() -> nn.LSTM:
    weight, bias = ParamAttr(initializer=XavierUniform()), ParamAttr(initializer=Constant(0.0))
    return nn.LSTM(WIDTH, HIDDEN, weight_ih_attr=weight, weight_hh_attr=weight, bias_ih_attr=bias, bias_hh_attr=bias)


def graphs(preprocess: WordPreprocess) -> dict[str, GraphSpec]:
    """The one graph: `ids` (N, length) and `lengths` (N,) -> `logits` (N, classes)."""
    ids = TensorSpec(IDS, ("N", preprocess.length), "int64")
    return {MAIN: GraphSpec((ids, TensorSpec(LENGTHS, ("N",), "int64")), ("logits",))}


PUBLISHED = Recipe(3, 8, 0.002, "constant", optimizer="adagrad", momentum=0.0)
# The mini set has fewer and shorter texts: larger batches and steps learn it in a minute.
MINI = replace(PUBLISHED, epochs=4, batch_size=32, learning_rate=0.01)

register(
    ZooEntry(
        id="senta_bilstm",
        title="Senta Bi-LSTM",
        family="sentiment_classification",
        task="classify_text",
        paper="none",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleNLP/sentiment_classification; without peepholes",
        data="chnsenticorp",
        parameters=4_545_826,
        macs=67_133_632,
        published_sizes={"num_classes": 2, "vocabulary": 33_256},
        build=SentaBiLSTM,
        graphs=graphs,
        references=(
            Reference("ChnSentiCorp test", "accuracy", 88.3, "%", README),
            Reference("ChnSentiCorp dev", "accuracy dev", 88.5, "%", README),
        ),
        published=Setup(WordPreprocess(256), PUBLISHED, PUBLISHED),
        mini=Setup(WordPreprocess(32), MINI, MINI, made=MiniSettings(train=4096, evaluation=1000)),
    )
)
