"""DeepASR's acoustic model. PaddlePaddle/models release/1.6, PaddleSpeech/DeepASR; arXiv:1402.1128 for the layers.

A convolution and five recurrent layers with projections tell the state of a hidden Markov model frame by frame. The
exported graph takes some frames and what the layers remember, and gives that back, so that sound can be heard as it
comes. Its steps are written out: ONNX has no recurrent layer with a projection.
"""

from __future__ import annotations

from dataclasses import replace

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional
from paddle.nn.initializer import Constant, XavierUniform

from edge_kit.core.speech import AROUND, BANDS, CELL, FRAMES, KINDS, STATE, AcousticPreprocess
from edge_kit.core.tensors import MAIN, GraphSpec, TensorSpec
from edge_kit.data.dataset import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo.entry import Reference, Setup, ZooEntry, register

LAYERS = 5
HIDDEN, PROJECTION = 1024, 512
FILTERS = 32
SEEN = FILTERS * 5 * 39  # what pooling leaves of 11 frames of 80 bands
README = "PaddlePaddle/models release/1.6, PaddleSpeech/DeepASR/README.md"


class ProjectedLSTM(nn.Layer):
    """(N, T, 4 * hidden) and what is remembered -> (N, T, projection) and what is remembered then.

    Peepholes are diagonal; the state that is fed back is the projected one, through a tanh.

    Source: Sak et al. 2014, arXiv:1402.1128, equations 1 to 6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.Linear(PROJECTION, 4 * HIDDEN, _xavier(), False)
        self.projection = nn.Linear(HIDDEN, PROJECTION, _xavier(), False)
        self.bias = self.create_parameter([4 * HIDDEN], ParamAttr(initializer=Constant(0.0)))
        self.peepholes = self.create_parameter([3, HIDDEN], ParamAttr(initializer=Constant(0.0)))

    def forward(self, given: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        into, forget, out = (self.peepholes[i] for i in range(3))
        outputs = []
        for step in paddle.unbind(given + self.bias, axis=1):
            gates = paddle.split(step + self.recurrent(state), 4, axis=1)  # candidate, input, forget, output
            kept = functional.sigmoid(gates[2] + forget * cell) * cell
            cell = kept + functional.sigmoid(gates[1] + into * cell) * paddle.tanh(gates[0])
            state = paddle.tanh(self.projection(functional.sigmoid(gates[3] + out * cell) * paddle.tanh(cell)))
            outputs.append(state)
        return paddle.stack(outputs, axis=1), state, cell


class DeepASR(nn.Layer):
    """Frames (N, T, 3, 11, 80), states (N, 5, 512) and cells (N, 5, 1024) -> logits (N, T, classes), states, cells.

    All that is remembered is 0 at the start.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(KINDS, FILTERS, 3, 1, 1)
        self.pool = nn.MaxPool2D(3, 2)
        widths = [SEEN, *[PROJECTION] * (LAYERS - 1)]
        self.inputs = nn.LayerList([nn.Linear(width, 4 * HIDDEN, _xavier()) for width in widths])
        self.lstms = nn.LayerList([ProjectedLSTM() for _ in range(LAYERS)])
        self.norms = nn.LayerList([nn.BatchNorm1D(PROJECTION) for _ in range(LAYERS)])
        self.out = nn.Linear(PROJECTION, num_classes, _xavier())

    def forward(self, frames: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps = frames.shape[1]
        x = functional.relu(self.conv(frames.reshape([-1, KINDS, 2 * AROUND + 1, BANDS])))
        x = self.pool(x).flatten(1)  # (N * T, 32, 5, 39) -> (N * T, 6240)
        states, cells = [], []
        for i in range(LAYERS):
            given = self.inputs[i](x).reshape([-1, steps, 4 * HIDDEN])
            heard, after, kept = self.lstms[i](given, state[:, i], cell[:, i])
            states.append(after)
            cells.append(kept)
            x = self.norms[i](heard.reshape([-1, PROJECTION]))
        logits = self.out(x)
        return (
            logits.reshape([-1, steps, logits.shape[-1]]),
            paddle.stack(states, axis=1),
            paddle.stack(cells, axis=1),
        )


def _xavier() -> ParamAttr:
    return ParamAttr(initializer=XavierUniform())


def graphs(preprocess: AcousticPreprocess) -> dict[str, GraphSpec]:
    """The one graph: a chunk of frames and what is remembered -> `logits` of each frame, and what is remembered."""
    inputs = (
        TensorSpec(FRAMES, ("N", preprocess.chunk, KINDS, 2 * AROUND + 1, BANDS)),
        TensorSpec(STATE, ("N", *preprocess.state)),
        TensorSpec(CELL, ("N", *preprocess.cell)),
    )
    return {MAIN: GraphSpec(inputs, ("logits", f"{STATE}_after", f"{CELL}_after"))}


CHUNK = AcousticPreprocess(8, (LAYERS, PROJECTION), (LAYERS, HIDDEN))
# Published: a fifth less every 1,879 steps, 20 passes for the quoted rate; here the rate falls along a cosine.
PUBLISHED = Recipe(20, 32, 0.00016, "cosine", optimizer="adam", momentum=0.0)
MINI = replace(PUBLISHED, epochs=2, batch_size=4, learning_rate=0.0005)

register(
    ZooEntry(
        id="deepasr",
        title="DeepASR",
        family="speech_recognition",
        task="acoustic",
        paper="arXiv:1402.1128",
        licence="Apache-2.0",
        source="PaddlePaddle/models release/1.6, PaddleSpeech/DeepASR",
        data="kaldi_frames",
        parameters=48_676_704,
        macs=394_973_184,
        published_sizes={"num_classes": 3040},
        build=DeepASR,
        graphs=graphs,
        references=(Reference("AISHELL-1 test", "CER", 10.1971, "%", README),),
        published=Setup(CHUNK, PUBLISHED, PUBLISHED),
        mini=Setup(CHUNK, MINI, MINI, made=MiniSettings(train=32, evaluation=8)),
    )
)
