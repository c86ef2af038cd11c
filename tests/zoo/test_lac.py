"""LAC with its published weights: the network of Paddle 1.x, in Paddle, in NumPy and as ONNX."""

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.graph import Graph
from convert.parity import measure_parity
from edge_kit.core.errors import BadData
from edge_kit.core.variables import load_variables
from edge_kit.core.words import CharacterPreprocess
from edge_kit.data import OpenOptions
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.lac import TaggedFolder
from edge_kit.data.mini.newspaper import make_mini
from edge_kit.pipeline.sources import packaged_weights
from edge_kit.tasks.tag_text import best_paths, words_of
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime
from tests.zoo.liveliness import differs

load_all()
ENTRY = MODELS.get("lac")
SHORT = CharacterPreprocess(5)  # a graph is written out character by character before it is rolled up
TEXT = "小明硕士毕业于中国科学院计算所，后在日本京都大学深造"


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    folder = packaged_weights(ENTRY.mini.weights)
    assert folder is not None
    return load_variables(folder)


@pytest.fixture(scope="module")
def net(variables: dict[str, np.ndarray]) -> paddle.nn.Layer:
    made = ENTRY.build(**ENTRY.published_sizes)
    weights = {name: paddle.to_tensor(value) for name, value in ENTRY.adopt(variables).items()}
    assert made.set_state_dict(weights) == ([], [])
    made.eval()
    return made


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> TaggedFolder:
    folder = tmp_path_factory.mktemp("mini")
    make_mini(folder, MiniSettings(train=8, evaluation=8), lambda *told: None)
    return TaggedFolder(folder, ENTRY.mini.preprocess, OpenOptions("mini-lac", False))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def written_out(variables: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """The scores of the specification, one character at a time, in NumPy."""
    x = variables["word_emb"][ids]
    for layer in (0, 2):
        both = []
        for i in (layer, layer + 1):
            flat, bias = variables[f"gru_{i}.w_0"].reshape(-1), variables[f"gru_{i}.b_0"].reshape(-1)
            gates, candidate = flat[: 2 * 128 * 128].reshape(128, 256), flat[2 * 128 * 128 :].reshape(128, 128)
            given = x @ variables[f"fc_{i}.w_0"] + variables[f"fc_{i}.b_0"] + bias
            state, states = np.zeros(128, np.float32), np.zeros((len(ids), 128), np.float32)
            for t in range(len(ids)) if i == layer else reversed(range(len(ids))):
                opened = sigmoid(given[t, :256] + state @ gates)
                update, reset = opened[:128], opened[128:]
                state = (1 - update) * state + update * np.tanh(given[t, 256:] + (reset * state) @ candidate)
                states[t] = state
            both.append(states)
        x = np.concatenate(both, axis=1)
    return x @ variables["fc_4.w_0"] + variables["fc_4.b_0"]


class PaddlesOwn:
    """The published program put together from the operators `gru` and `crf_decoding`, which Paddle 3 still has."""

    def __init__(self, variables: dict[str, np.ndarray]) -> None:
        self.program = paddle.static.Program()
        self.block = self.program.global_block()
        self.scope = paddle.base.core.Scope()
        self.weights = {}
        for name, value in variables.items():
            self.weights[name] = self.block.create_var(name=name, shape=value.shape, dtype="float32", persistable=True)
            self.scope.var(name).get_tensor().set(value, paddle.CPUPlace())
        ids = self.block.create_var(name="ids", shape=[-1, 1], dtype="int64", lod_level=1, is_data=True)
        x = self.op("lookup_table", {"W": self.weights["word_emb"], "Ids": ids})
        for layer in (0, 2):
            x = self.op("concat", {"X": [self.gru(x, layer, False), self.gru(x, layer + 1, True)]}, axis=1)
        self.scores = self.linear(x, 4)
        given = {"Emission": self.scores, "Transition": self.weights["crfw"]}
        self.path = self.op("crf_decoding", given, result="ViterbiPath", dtype="int64")

    def op(self, kind: str, inputs: dict[str, Any], result: str = "Out", dtype: str = "float32", **attrs: Any) -> Any:
        given = self.block.create_var(name=f"{kind}_{len(self.block.ops)}", dtype=dtype, lod_level=1)
        self.block.append_op(type=kind, inputs=inputs, outputs={result: given}, attrs=attrs)
        return given

    def linear(self, x: Any, i: int) -> Any:
        product = self.op("mul", {"X": x, "Y": self.weights[f"fc_{i}.w_0"]})
        return self.op("elementwise_add", {"X": product, "Y": self.weights[f"fc_{i}.b_0"]}, axis=1)

    def gru(self, x: Any, i: int, reverse: bool) -> Any:
        names = ("Hidden", "BatchGate", "BatchResetHiddenPrev", "BatchHidden")
        outputs = {name: self.block.create_var(name=f"{name}_{i}", dtype="float32", lod_level=1) for name in names}
        weights = {"Weight": self.weights[f"gru_{i}.w_0"], "Bias": self.weights[f"gru_{i}.b_0"]}
        settings = {"is_reverse": reverse, "gate_activation": "sigmoid", "activation": "tanh", "origin_mode": False}
        self.block.append_op(
            type="gru", inputs={"Input": self.linear(x, i), **weights}, outputs=outputs, attrs=settings
        )
        return outputs["Hidden"]

    def run(self, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
        tensor = paddle.base.core.DenseTensor()
        tensor.set(np.array(ids, np.int64).reshape(-1, 1), paddle.CPUPlace())
        tensor.set_recursive_sequence_lengths([[len(ids)]])
        executor = paddle.static.Executor(paddle.CPUPlace())
        fetched = executor.run(
            self.program, {"ids": tensor}, [self.scores, self.path], scope=self.scope, return_numpy=False
        )
        return np.array(fetched[0]), np.array(fetched[1]).reshape(-1)


def answers(net: paddle.nn.Layer, batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    with paddle.no_grad():
        emissions, transitions = net(paddle.to_tensor(batch["ids"]), paddle.to_tensor(batch["lengths"]))
    return emissions.numpy(), transitions.numpy()


def test_scores_equal_the_specification_written_out_in_numpy(
    net: paddle.nn.Layer, variables: dict[str, np.ndarray], mini: TaggedFolder
) -> None:
    batch = next(iter(mini.eval_batches(3)))
    emissions, _ = answers(net, batch)
    for row, ids, length in zip(emissions, batch["ids"], batch["lengths"], strict=True):
        wanted = written_out(variables, list(ids[:length]))
        np.testing.assert_allclose(row[:length], wanted, atol=1e-4)  # of some 10; float32 through 64 steps and back
    assert len({int(one) for one in batch["lengths"]}) > 1


def test_scores_and_tags_equal_paddles_own_operators_of_the_published_program(
    net: paddle.nn.Layer, variables: dict[str, np.ndarray], mini: TaggedFolder
) -> None:
    batch = mini.preprocess([TEXT])
    emissions, transitions = answers(net, batch)
    paddle.enable_static()
    try:
        wanted, path = PaddlesOwn(variables).run(list(batch["ids"][0, : len(TEXT)]))
    finally:
        paddle.disable_static()
    np.testing.assert_allclose(emissions[0, : len(TEXT)], wanted, atol=1e-4)
    (found,) = best_paths(emissions, transitions[0], batch["lengths"])
    np.testing.assert_array_equal(found, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我来到北京清华大学", "我/r 来到/v 北京清华大学/ORG"),
        ("乒乓球拍卖完了", "乒乓球/n 拍卖/v 完/v 了/xc"),
        ("中国科学技术大学", "中国科学技术大学/ORG"),
        ("我爱北京天安门", "我/r 爱/v 北京/LOC 天安门/LOC"),
    ],
)
def test_the_examples_of_jiebas_manual_are_tagged(
    text: str, words: str, net: paddle.nn.Layer, mini: TaggedFolder
) -> None:
    """The manual of jieba gives the sentences; what it says of the words is of its other ways to divide them."""
    batch = mini.preprocess([text])
    emissions, transitions = answers(net, batch)
    (path,) = best_paths(emissions, transitions[0], batch["lengths"])
    spans = words_of([mini.labels[i] for i in path])
    assert " ".join(f"{text[start:end]}/{kind}" for start, end, kind in spans) == words


def test_what_fills_a_sentence_up_is_not_read(net: paddle.nn.Layer, mini: TaggedFolder) -> None:
    batch = mini.preprocess([TEXT])
    before, _ = answers(net, batch)
    batch["ids"][0, len(TEXT) :] = np.arange(64 - len(TEXT)) * 7 + 500
    after, _ = answers(net, batch)
    np.testing.assert_allclose(after[0, : len(TEXT)], before[0, : len(TEXT)], atol=1e-5)


def test_weights_of_another_network_are_refused(variables: dict[str, np.ndarray]) -> None:
    with pytest.raises(BadData, match="no weights of LAC as published: 'gru_3.w_0'"):
        ENTRY.adopt({name: value for name, value in variables.items() if name != "gru_3.w_0"})
    assert ENTRY.adopt({"out.bias": np.zeros(3)}).keys() == {"out.bias"}


@pytest.fixture(scope="module")
def exported(net: paddle.nn.Layer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    (spec,) = ENTRY.graphs(SHORT).values()
    export_paddle(net, spec, folder / "main")
    paddle_to_onnx(folder / "main", folder / "converted.onnx", spec)
    assert canonicalise(folder / "converted.onnx", folder / "main.onnx")["roll_up_gru"] == 4
    return folder / "main.onnx"


def test_the_onnx_graph_has_nothing_of_the_steps_left(exported: Path) -> None:
    kinds = [node.op_type for node in Graph.load(exported).nodes]
    assert kinds.count("GRU") == 4
    assert kinds.count("MatMul") == 1, "that of the scores"
    assert "Sigmoid" not in kinds


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_runtime_gives_paddles_scores(runtime: str, net: paddle.nn.Layer, exported: Path) -> None:
    """OpenVINO read along a wrong axis where a Squeeze and a Transpose stood behind a GRU."""
    (spec,) = ENTRY.graphs(SHORT).values()
    ids = np.random.default_rng(2).integers(0, 20_000, (3, SHORT.length))
    batch = {"ids": ids, "lengths": np.array([1, 3, SHORT.length])}
    session = get_runtime(runtime).load(exported)
    for parity in measure_parity(layer_run(net, spec), session.run, [batch]):
        assert parity.max_rel <= 1e-5
    assert differs(layer_run(net, spec)(batch)["emissions"])
