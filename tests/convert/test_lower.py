"""Lowering as a list of passes, each held to what it promises."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import PASSES, PLACING, Lowering, Pass, apply_pass, lower, prepare
from edge_kit.core.errors import EdgeKitError
from runtimes.targets import TARGETS
from tests.convert.graphs import build, run

BATCHES = [{"image": np.random.default_rng(0).normal(0, 1, (4, 3, 8, 8)).astype(np.float32)}]


def normed_net() -> Graph:
    """Conv, batch norm, Relu, Conv."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Conv", ["r", "u"], ["y"]),
    ]
    rng = np.random.default_rng(1)
    shapes = {"w": (4, 3, 3, 3), "u": (2, 4, 1, 1), "s": (4,), "t": (4,), "m": (4,)}
    constants = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    constants["v"] = np.ones(4, np.float32)
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 2, 6, 6]})


def test_every_pass_is_in_the_report_in_order_and_says_in_a_line_what_it_does(tmp_path: Path) -> None:
    normed_net().save(tmp_path / "float.onnx")
    report = lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS["x86-avx2"], BATCHES)
    assert list(report.passes) == [step.name for step in PASSES]
    assert report.passes["fold_batch_norm"] == report.passes["absorb_activations"] == 1
    assert report.quantized == {"Conv": 2}
    for step in PASSES:
        assert 20 < len(step.does) < 120, step.does
        assert not step.does.endswith(".")


def test_the_float_rewrites_keep_the_answers_and_are_held_to_it() -> None:
    assert [step.name for step in PASSES if step.keeps_answers] == [
        "roll_up_gru",
        "fold_recurrent_weights",
        "drop_zero_states",
        "fold_batch_norm",
        "fold_factor",
        "drop_factor_of_one",
        "slice_from_split",
        "clip_before_concat",
        "pad_without_a_further_axis",
        "flatten_from_shape_arithmetic",
        "gemm_from_matmul_and_add",
        "resize_by_constant_scales",
        "fold_batch_norm_into_gemm",
        "sum_with_identity",
        "convolve_transposed",
        "gate_from_hard_swish",
    ]


def test_a_pass_that_changes_the_answers_is_named_with_the_output_and_by_how_much() -> None:
    def stretch_first_weights(graph: Graph) -> int:
        """Make them a little larger."""
        graph.constants["w"] = graph.constants["w"] * np.float32(1.001)
        return 1

    job = Lowering(normed_net(), TARGETS["x86-vnni"], BATCHES)
    step = Pass(stretch_first_weights, lambda job: stretch_first_weights(job.graph), keeps_answers=True)
    with pytest.raises(
        EdgeKitError, match=r"pass 'stretch_first_weights' changed output 'y' by 0\.00\d+ of its"
    ) as fault:
        apply_pass(step, job)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("target", "groups"),
    [("x86-vnni", 1), ("x86-vnni", 4), ("x86-vnni", 16), ("x86-avx2", 1), ("arm64", 1), ("ncnn", 1), ("tensorrt", 4)],
)
def test_rounding_weights_does_not_shift_what_a_convolution_gives_on_the_mean(
    target: str, groups: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    constants = {"w": rng.normal(0, 1, (32, 16 // groups, 3, 3)).astype(np.float32), "b": np.ones(32, np.float32)}
    net = build(
        [helper.make_node("Conv", ["image", "w", "b"], ["y"], group=groups)],
        constants,
        {"image": ["N", 16, 16, 16]},
        {"y": ["N", 32, 14, 14]},
    )
    net.save(tmp_path / "float.onnx")
    batches = [{"image": rng.uniform(0, 4, (8, 16, 16, 16)).astype(np.float32)} for _ in range(2)]

    def shift(known_means: bool) -> float:
        """Root mean square over channels of the mean error, in the float graph's deviations."""
        job = prepare(tmp_path / "float.onnx", TARGETS[target], batches)
        assert set(job.known.means) == {"image"}
        if not known_means:
            job.known.means.clear()
        for step in PLACING:
            apply_pass(step, job)
        right, found = (run(graph, batches[0], tmp_path)["y"] for graph in (net, job.graph))
        return float(np.sqrt((((found - right).mean(axis=(0, 2, 3)) / right.std()) ** 2).mean()))

    assert shift(known_means=True) < 0.3 * shift(known_means=False)
