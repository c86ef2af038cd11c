"""CycleGAN's losses by hand, the pool of older pictures, and how near two versions are."""

import numpy as np
import paddle
import pytest
from paddle import nn

from edge_kit.tasks.translate import DISCRIMINATORS, GENERATORS, POOL, Translate, _from_pool, as_picture, psnr, ssim


class Add(nn.Layer):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x):
        return x + self.number


class Mean(nn.Layer):
    def forward(self, x):
        return x.mean([1, 2, 3])


class Net:
    """A to B adds 0.5, B to A takes 0.25 off; how real a picture is is its mean."""

    a_to_b, b_to_a, judge_a, judge_b = Add(0.5), Add(-0.25), Mean(), Mean()


def picture(value: float) -> np.ndarray:
    return np.full((1, 3, 8, 8), value, np.float32)


BATCH = {"a": paddle.to_tensor(picture(0.2)), "b": paddle.to_tensor(picture(-0.4))}


def test_the_generators_are_to_deceive_to_come_back_and_to_leave_alone() -> None:
    memory: dict[str, np.ndarray] = {}
    loss = float(Translate().group_loss(GENERATORS, Net(), BATCH, memory))
    deceived = (0.7 - 1) ** 2 + (-0.65 - 1) ** 2
    assert loss == pytest.approx(deceived + 10 * (0.25 + 0.25) + 0.5 * 10 * (0.5 + 0.25), rel=1e-5)
    np.testing.assert_allclose(memory["fake_b"], picture(0.7), rtol=1e-6)
    np.testing.assert_allclose(memory["fake_a"], picture(-0.65), rtol=1e-6)


def test_the_discriminators_are_to_tell_real_from_made() -> None:
    memory = {"fake_a": picture(0.3), "fake_b": picture(-0.1)}
    loss = float(Translate().group_loss(DISCRIMINATORS, Net(), BATCH, memory))
    wanted = 0.5 * (0.3**2 + (0.2 - 1) ** 2) + 0.5 * (0.1**2 + (-0.4 - 1) ** 2)
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert set(memory) == {"step", "pool_a", "pool_b"}, "what was judged is not kept beside the pool"


def test_a_full_pool_gives_old_pictures_for_about_half_of_the_new() -> None:
    memory: dict[str, np.ndarray] = {}
    shown = []
    for i in range(POOL + 200):
        memory["fake_a"] = picture(i)
        shown.append(float(_from_pool(memory, "a", np.random.default_rng(i))[0, 0, 0, 0]))
    assert shown[:POOL] == list(range(POOL))
    later = np.array(shown[POOL:])
    assert 70 < (later != np.arange(POOL, POOL + 200)).sum() < 130
    assert memory["pool_a"].shape == (POOL, 3, 8, 8)
    swapped = [one for i, one in enumerate(shown[POOL:], POOL) if one != i]
    assert len(set(swapped)) == len(swapped), "a picture that was given out has made room for a new one"


def test_psnr_and_ssim_of_known_pictures() -> None:
    assert psnr(0.04) == pytest.approx(20)  # a peak of 2 over a difference of 0.2
    assert psnr(0.0) == 100
    rng = np.random.default_rng(0)
    first = rng.uniform(-1, 1, (3, 24, 24))
    assert ssim(first, first) == pytest.approx(1)
    assert ssim(first, -first) < 0
    flat, other = np.full((3, 9, 9), 0.5), np.full((3, 9, 9), 0.25)
    assert ssim(flat, other) == pytest.approx((2 * 0.75 * 0.625 + 1e-4) / (0.75**2 + 0.625**2 + 1e-4))
    noisy = [ssim(first, first + rng.normal(0, size, first.shape)) for size in (0.05, 0.3)]
    assert 0.9 < noisy[0] < 1
    assert noisy[1] < noisy[0]


class FakeData:
    name = "fake"

    def eval_batches(self, batch: int):
        yield {"a": picture(0.0), "b": picture(0.0)}
        yield {"a": picture(0.5), "b": picture(0.5)}


def test_agreement_is_the_psnr_over_both_directions() -> None:
    exact = {
        "a_to_b": lambda inputs: {"fake_b": inputs["a"]}, "b_to_a": lambda inputs: {"fake_a": inputs["b"]}
    }  # fmt: skip
    off = {**exact, "a_to_b": lambda inputs: {"fake_b": inputs["a"] + 0.2}}
    metric = Translate().agreement(exact, off, FakeData(), 10)
    assert (metric.name, metric.unit, metric.samples) == ("PSNR", "dB", 4)
    assert metric.value == pytest.approx(10 * np.log10(4 / 0.02), rel=1e-5)
    assert Translate().agreement(exact, exact, FakeData(), 1).samples == 2
    (likeness,) = Translate().likeness(exact, off, FakeData(), 10)
    assert (likeness.name, likeness.samples) == ("SSIM", 4)
    assert 0.9 < likeness.value < 1
    assert Translate().likeness(exact, exact, FakeData(), 10)[0].value == 1


def test_what_was_made_becomes_a_picture_of_opencvs_channels() -> None:
    made = np.stack([np.full((2, 4), value, np.float32) for value in (-1.0, 0.0, 3.0)])
    assert as_picture(made).shape == (2, 4, 3)
    assert as_picture(made)[0, 0].tolist() == [255, 128, 0]
