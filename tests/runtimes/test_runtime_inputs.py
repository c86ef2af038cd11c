"""Open axes and the sizes they take."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edge_kit.core.errors import UsageError
from edge_kit.core.tensors import TensorSpec
from runtimes.inputs import Settled, Shapes, settle

IMAGE = TensorSpec("image", ("N", 3, "h", "w"))
TOKENS = TensorSpec("tokens", ("N", "time"), "int64")
MASK = TensorSpec("mask", ("N", "time"))
FIXED = TensorSpec("x", (1, 8))


def shapes_of(settled: Settled) -> list[tuple[int | str, ...]]:
    return [spec.shape for spec in settled.specs]


def test_the_batch_fills_the_first_axis() -> None:
    settled = settle((TensorSpec("x", ("N", 8)),), 4, {})
    assert shapes_of(settled) == [(4, 8)]
    assert settled.batch == 4


def test_a_shape_fixes_an_input_and_says_the_batch() -> None:
    settled = settle((IMAGE,), 1, {"image": (2, 3, 32, 48)})
    assert shapes_of(settled) == [(2, 3, 32, 48)]
    assert settled.batch == 2


def test_a_named_axis_is_the_same_in_every_input() -> None:
    settled = settle((TOKENS, MASK), 1, {"tokens": (2, 16)})
    assert shapes_of(settled) == [(2, 16), (2, 16)]


def test_the_type_and_the_layout_are_kept() -> None:
    spec = TensorSpec("x", ("N", 4, 4, 3), "uint8", "NHWC")
    assert settle((spec,), 1, {}).specs == (TensorSpec("x", (1, 4, 4, 3), "uint8", "NHWC"),)


def test_shapes_of_other_graphs_are_left_aside() -> None:
    assert shapes_of(settle((FIXED,), 1, {"image": (1, 3, 8, 8)})) == [(1, 8)]


@dataclass(frozen=True)
class Refused:
    specs: tuple[TensorSpec, ...]
    batch: int
    shapes: Shapes
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Refused(
            (IMAGE,),
            1,
            {},
            "input 'image' has open axes (N, 3, h, w); fix them: --shape image=1,3,h,w with a number for each letter",
        ),
        Refused(
            (IMAGE,),
            1,
            {"image": (1, 4, 8, 8)},
            "input 'image' is (N, 3, h, w); (1, 4, 8, 8) does not fit",
        ),
        Refused((IMAGE,), 1, {"image": (1, 3)}, "input 'image' is (N, 3, h, w); (1, 3) does not fit"),
        Refused((TOKENS,), 1, {"tokens": (1, 0)}, "input 'tokens' is (N, time); (1, 0) does not fit"),
        Refused((FIXED,), 4, {}, "batch 4 does not fit: x (1, 8)"),
        Refused((MASK,), 4, {"mask": (2, 16)}, "batch 4 does not fit: mask (2, 16)"),
    ],
    ids=lambda case: case.message,
)
def test_what_does_not_fit_is_said(case: Refused) -> None:
    with pytest.raises(UsageError) as caught:
        settle(case.specs, case.batch, case.shapes)
    assert str(caught.value) == case.message
