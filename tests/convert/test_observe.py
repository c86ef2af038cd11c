"""Where ranges are cut, on distributions whose answer is known; and what a graph of odd channels comes to."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.clipping import Largest, Magnitudes, least_square
from convert.graph import Graph
from convert.lower import lower
from convert.observe import ALGORITHMS, PIECE, STRIDE, Observer, observe
from convert.quantization import Range
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.tensors import Tensors
from runtimes.ort import OnnxSession
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(0, 1, (2, 50_000)).astype(np.float32)
EVEN = RNG.uniform(-1, 3, (2, 50_000)).astype(np.float32)


def doubling() -> Graph:
    """`y` is twice `x`, by way of `d`."""
    nodes = [helper.make_node("Add", ["x", "x"], ["d"]), helper.make_node("Neg", ["d"], ["y"])]
    return build(nodes, {}, {"x": ["N", 50_000]}, {"y": ["N", 50_000]})


def observed(algorithm: str, *batches: np.ndarray, share: float = 0.99999) -> Range:
    """The range of twice the batches, halved."""
    span = observe(doubling(), [{"x": one} for one in batches], Observer(algorithm, share)).ranges["d"]
    return Range(span.low / 2, span.high / 2)


def test_abs_max_holds_every_value_and_no_more() -> None:
    span = observed("abs_max", EVEN, NORMAL)
    assert span.low == pytest.approx(min(EVEN.min(), NORMAL.min()))
    assert span.high == pytest.approx(max(EVEN.max(), NORMAL.max()))


def test_avg_is_the_mean_of_the_batches_ends() -> None:
    span = observed("avg", EVEN[:1], 3 * EVEN[:1])
    assert (span.low, span.high) == pytest.approx((2 * EVEN[0].min(), 2 * EVEN[0].max()))


@pytest.mark.parametrize("share", [0.9, 0.99, 0.999])
def test_hist_cuts_at_the_percentile_of_the_magnitudes(share: float) -> None:
    limit = np.quantile(np.abs(NORMAL), share)
    span = observed("hist", NORMAL[:1], NORMAL[1:], share=share)
    assert span.high == pytest.approx(limit, abs=np.abs(NORMAL).max() / 1024)  # a bin on either side
    assert span.low == -span.high


def test_hist_counts_zeros_among_all_values() -> None:
    mostly_zero = np.where(RNG.random(NORMAL.shape) < 0.9, 0, np.abs(NORMAL)).astype(np.float32)
    span = observed("hist", mostly_zero, share=0.99)
    assert span.high == pytest.approx(np.quantile(mostly_zero, 0.99), abs=0.01)


@pytest.mark.parametrize("share", [0.99, 0.999])
def test_hist_of_a_large_tensor_looks_at_every_eleventh_value(share: float) -> None:
    large = RNG.laplace(0, 1, (3, 4, 150, 150)).astype(np.float32)
    graph = build([helper.make_node("Neg", ["x"], ["y"])], {}, {"x": ["N", 4, 150, 150]}, {"y": ["N", 4, 150, 150]})
    span = observe(graph, [{"x": large[:2]}, {"x": large[2:]}], Observer("hist", share)).ranges["x"]
    looked_at = np.concatenate([np.abs(batch).ravel()[::STRIDE] for batch in (large[:2], large[2:])])
    assert span.high == pytest.approx(np.quantile(looked_at, share), rel=0.01)
    assert span.high == pytest.approx(np.quantile(np.abs(large), share), rel=0.06)


def test_hist_runs_the_graph_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    real = OnnxSession.run
    monkeypatch.setattr(OnnxSession, "run", lambda session, inputs: ran.append(1) or real(session, inputs))
    observed("hist", NORMAL, EVEN)
    assert len(ran) == 2


def test_hist_leaves_a_tensor_of_hardly_anything_but_zeros_as_it_is() -> None:
    values = np.zeros((2, 50_000), np.float32)
    values[0, 7] = 3
    assert observed("hist", values, share=0.999).high == 3


@pytest.mark.parametrize("order", [1, -1], ids=["growing", "shrinking"])
def test_the_largest_are_kept_whatever_the_order_and_the_sizes_of_batches(order: int) -> None:
    values = np.sort(np.abs(RNG.normal(0, 1, 200_000)))[::order].astype(np.float32)
    parts = np.split(values, [100, 3_000, 40_000, 41_000])
    largest = Largest(0.99)
    for part in parts:
        largest.add(part, len(part) / len(values))
        assert len(largest.kept) < 10_000
    assert largest.limit == pytest.approx(np.quantile(values, 0.99), rel=1e-3)
    assert (values > largest.limit).sum() == 2_000


@pytest.mark.parametrize("algorithm", ["hist", "mse", "emd", "KL", "avg", "abs_max"])
def test_an_even_distribution_is_not_cut_much_by_any(algorithm: str) -> None:
    span = observed(algorithm, EVEN)
    assert span.low == pytest.approx(-1, abs=0.02)
    assert 2.7 < span.high <= EVEN.max() + 1e-6


# mse: 300,000 roundings, of (limit + 4.4)^2 / 255^2 / 12 each, and one clip of (100 - limit)^2 are least at 71.
@pytest.mark.parametrize(("algorithm", "limit"), [("hist", 4.4), ("KL", 4.4), ("mse", 71), ("abs_max", 100)])
def test_one_stray_value_sets_the_range_of_abs_max_alone(algorithm: str, limit: float) -> None:
    values = np.tile(NORMAL, (3, 1))
    values[0, 0] = 100
    assert observed(algorithm, values).high == pytest.approx(limit, rel=0.5 if algorithm == "KL" else 0.1)


def test_mse_finds_what_trying_every_limit_finds() -> None:
    values = RNG.laplace(0, 1, 100_000)
    seen = Magnitudes(Range(float(values.min()), float(values.max())))
    seen.add(values)

    def error(span: Range) -> float:
        step = (span.high - span.low) / 255
        return float(((np.clip(np.rint(values / step) * step, span.low, span.high) - values) ** 2).mean())

    cut = seen.cut(least_square(seen))
    least = min(error(seen.cut(seen.top * share)) for share in np.linspace(0.05, 1, 100))
    assert error(cut) < 1.02 * least
    assert least < error(seen.span)


@pytest.mark.parametrize(("batch", "most"), [("N", PIECE), (10, 10)])
def test_no_more_samples_run_at_once_than_a_piece_where_the_graph_takes_fewer(
    batch: int | str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All activations of a batch of 20 are 10 GB of ResNet200's."""
    ran: list[int] = []
    real = OnnxSession.run

    def run(session: OnnxSession, inputs: Tensors) -> dict[str, np.ndarray]:
        ran.append(len(inputs["x"]))
        return real(session, inputs)

    monkeypatch.setattr(OnnxSession, "run", run)
    x = RNG.normal(0, 1, (10, 3, 5)).astype(np.float32)
    x[9] += 7
    graph = build([helper.make_node("Neg", ["x"], ["y"])], {}, {"x": [batch, 3, 5]}, {"y": [batch, 3, 5]})
    batches = [{"x": x}, {"x": x / 2}]
    for algorithm, share in (("abs_max", 1.0), ("avg", 0.75)):
        span = observe(graph, batches, Observer(algorithm)).ranges["x"]
        assert (span.low, span.high) == pytest.approx((share * x.min(), share * x.max()))
    means = observe(graph, batches, means_of=["x"]).means["x"]
    np.testing.assert_allclose(means, 0.75 * x.mean(axis=(0, 2)), rtol=1e-5)
    assert max(ran) == most


def test_an_unknown_algorithm_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown quantization algorithm 'hits'; did you mean 'hist'"):
        Observer("hits")


def test_a_tensor_of_integers_inside_is_no_hindrance() -> None:
    nodes = [
        helper.make_node("Add", ["x", "x"], ["d"]),
        helper.make_node("Shape", ["d"], ["s"]),
        helper.make_node("Reshape", ["d", "s"], ["y"]),
    ]
    graph = build(nodes, {}, {"x": ["N", 4]}, {"y": ["N", 4]})
    ranges = observe(graph, [{"x": np.array([[-1, 2, 0, 1]], np.float32)}]).ranges
    assert ranges == {"x": Range(-1, 2), "d": Range(-2, 4), "y": Range(-2, 4)}


def test_an_activation_that_is_not_finite_is_named() -> None:
    nodes = [helper.make_node("Log", ["x"], ["l"]), helper.make_node("Neg", ["l"], ["y"])]
    graph = build(nodes, {}, {"x": ["N", 2]}, {"y": ["N", 2]})
    with pytest.raises(BadData, match="activation 'l' is not finite"):
        observe(graph, [{"x": np.array([[1, -1]], np.float32)}])


def test_a_mask_of_the_least_float_is_finite_though_its_sum_is_not() -> None:
    """As exporters of transformers write one."""
    least = float(np.finfo(np.float32).min)
    graph = build([helper.make_node("Neg", ["x"], ["y"])], {}, {"x": ["N", 4]}, {"y": ["N", 4]})
    ranges = observe(graph, [{"x": np.full((2, 4), least, np.float32)}]).ranges
    assert ranges["x"] == Range(least, 0)


def odd_net() -> Graph:
    """Two channels of the first convolution are dead, one with a bias; an unknown operator; an all-zero branch."""
    rng = np.random.default_rng(2)
    weight = rng.normal(0, 1, (6, 3, 3, 3)).astype(np.float32)
    weight[1:3] = 0
    weight[3] *= 1e-12
    bias = np.array([0.1, 0.0, 0.7, -0.4, 0.2, 0.3], np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Softsign", ["c"], ["g"]),
        helper.make_node("Conv", ["g", "v"], ["e"]),
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Conv", ["zero", "w", "b"], ["f"]),
        helper.make_node("Conv", ["f", "v"], ["h"]),
        helper.make_node("Concat", ["e", "h"], ["y"], axis=1),
    ]
    constants = {"w": weight, "b": bias, "v": rng.normal(0, 1, (2, 6, 1, 1)).astype(np.float32)}
    return build(nodes, constants, {"x": ["N", 3, 8, 8]}, {"y": ["N", 4, 6, 6]})


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_dead_channels_keep_their_bias_and_what_no_pass_knows_stays_float(
    algorithm: str, target: str, tmp_path: Path
) -> None:
    odd_net().save(tmp_path / "float.onnx")
    batches = [{"x": np.random.default_rng(3).normal(0, 1, (8, 3, 8, 8)).astype(np.float32)}]
    out = tmp_path / "int8.onnx"
    report = lower(tmp_path / "float.onnx", out, TARGETS[target], batches, Observer(algorithm))
    assert report.silent == ("zero",)
    assert report.left_float == {"Softsign": 1, "Sub": 1, "Conv": 1, "Concat": 1}
    assert report.quantized == {"Conv": 3}
    wanted = get_runtime("onnx").load(tmp_path / "float.onnx").run(batches[0])["y"]
    got = get_runtime("onnx").load(out).run(batches[0])["y"]
    assert np.abs(got - wanted).max() < 0.15 * np.abs(wanted).max()
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.03 * wanted.std()


def test_a_mean_is_of_the_rows_that_there_are_and_not_of_the_samples_they_come_from() -> None:
    """Clips become pictures, and sentences words, on the first axis: biases took up eight times too much."""
    nodes = [helper.make_node("Reshape", ["x", "rows"], ["flat"]), helper.make_node("Relu", ["flat"], ["y"])]
    graph = build(nodes, {"rows": np.array([-1, 3])}, {"x": ["N", 8, 3]}, {"y": ["M", 3]})
    clips = RNG.normal(1, 1, (7, 8, 3)).astype(np.float32)
    means = observe(graph, [{"x": clips[:5]}, {"x": clips[5:]}], means_of=["flat"]).means["flat"]
    np.testing.assert_allclose(means, clips.mean(axis=(0, 1)), rtol=1e-5)
