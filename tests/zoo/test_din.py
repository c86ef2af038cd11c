"""Deep Interest Network: what fills a history up is not read, and the target decides what of it is."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.graph import Graph
from convert.parity import measure_parity
from edge_kit.core.behaviour import INPUTS, Behaviour, BehaviourPreprocess
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime

load_all()
ENTRY = MODELS.get("din")
PREPARE = BehaviourPreprocess(6, (50, 7))
SAMPLES = [Behaviour((4, 9, 30), (1, 2, 3), 11, 2), Behaviour((8, 7, 6, 5, 4, 3), (1, 1, 2, 2, 1, 0), 40, 6)]


@pytest.fixture(scope="module")
def net() -> paddle.nn.Layer:
    paddle.seed(5)
    made = ENTRY.build(items=50, categories=7)
    for table in (made.item, made.category, made.bias):
        table.weight.set_value(paddle.normal(0.0, 1.0, table.weight.shape))
    made.eval()
    return made


def clicks(net: paddle.nn.Layer, batch: dict[str, np.ndarray]) -> np.ndarray:
    with paddle.no_grad():
        return net(*(paddle.to_tensor(batch[name]) for name in INPUTS)).numpy()


def written_out(net: paddle.nn.Layer, one: Behaviour) -> float:
    """The specification, item by item, in NumPy."""
    state = {name: value.numpy().astype(np.float64) for name, value in net.state_dict().items()}

    def layers(x: np.ndarray, name: str) -> float:
        for i in (0, 2):
            x = 1 / (1 + np.exp(-(x @ state[f"{name}.{i}.weight"] + state[f"{name}.{i}.bias"])))
        return float((x @ state[f"{name}.4.weight"] + state[f"{name}.4.bias"])[0])

    def embedded(item: int, category: int) -> np.ndarray:
        return np.concatenate([state["item.weight"][item], state["category.weight"][category]])

    target = embedded(one.target, one.target_category)
    history = [embedded(*pair) for pair in zip(one.items, one.categories, strict=True)]
    scores = np.array([layers(np.concatenate([h, target, h - target, h * target]), "attention") for h in history])
    powers = np.exp(scores / np.sqrt(128))
    interest = sum(h * share for h, share in zip(history, powers / powers.sum(), strict=True))
    interest = interest @ state["interest.weight"] + state["interest.bias"]
    return layers(np.concatenate([interest, target]), "click") + float(state["bias.weight"][one.target, 0])


def test_clicks_equal_the_specification_written_out(net: paddle.nn.Layer) -> None:
    wanted = [[written_out(net, one)] for one in SAMPLES]
    np.testing.assert_allclose(clicks(net, PREPARE(SAMPLES)), wanted, rtol=1e-4)


def test_what_fills_a_history_up_is_not_read(net: paddle.nn.Layer) -> None:
    batch = PREPARE(SAMPLES)
    before = clicks(net, batch)
    batch["items"][0, 3:], batch["categories"][0, 3:] = 33, 5
    np.testing.assert_allclose(clicks(net, batch), before, atol=1e-6)


def test_the_onnx_graph_equals_paddle_and_multiplies_matrices_alone(net: paddle.nn.Layer, tmp_path: Path) -> None:
    (spec,) = ENTRY.graphs(PREPARE).values()
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    session = get_runtime("onnx").load(tmp_path / "main.onnx")
    (parity,) = measure_parity(layer_run(net, spec), session.run, [PREPARE(SAMPLES)])
    assert parity.max_rel <= 1e-5
    kinds = [node.op_type for node in Graph.load(tmp_path / "main.onnx").nodes]
    assert (kinds.count("Gemm"), kinds.count("MatMul")) == (7, 0), "every product has an INT8 kernel"


def test_parameters_add_up_to_the_published_count() -> None:
    attention, click = 512 * 80 + 80 + 80 * 40 + 40 + 40 + 1, 256 * 80 + 80 + 80 * 40 + 40 + 40 + 1
    assert attention + click + 128 * 128 + 128 == 84_674
    assert 84_674 + 63_001 * (64 + 1) + 801 * 64 == ENTRY.parameters == 4_231_003
