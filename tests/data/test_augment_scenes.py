"""Random changes keep boxes where their objects are."""

import numpy as np
import pytest

from edge_kit.data.augment_scenes import Distortion, SceneAugment, mixed
from edge_kit.data.objects import Objects, Scene

CROPS = SceneAugment(flip=0.0, least=(0.1, 0.5, 0.9))


def scene(height: int = 60, width: int = 90) -> Scene:
    """Two flat rectangles of their own colours on black."""
    image = np.zeros((height, width, 3), np.uint8)
    boxes = [(10, 5, 40, 25), (50, 30, 85, 55)]
    for (x1, y1, x2, y2), colour in zip(boxes, (100, 200), strict=True):
        image[y1:y2, x1:x2] = colour
    return Scene(image, Objects.of(boxes, [3, 4], [False, True]))


def assert_boxes_hold_their_colours(changed: Scene) -> None:
    for box, label in zip(changed.objects.boxes.astype(int), changed.objects.labels, strict=True):
        colour = {3: 100, 4: 200}[int(label)]
        x1, y1, x2, y2 = box
        assert (changed.image[y1:y2, x1:x2] == colour).all()
        assert (changed.image == colour).all(axis=2).sum() == (y2 - y1) * (x2 - x1), "nothing of it lies outside"


@pytest.mark.parametrize(
    "augment",
    [SceneAugment(flip=1.0), SceneAugment(flip=0.0, expand=4.0), SceneAugment(flip=0.5, expand=2.0)],
    ids=["flip", "expand", "both"],
)
def test_boxes_move_with_what_they_hold(augment: SceneAugment) -> None:
    sizes = set()
    for seed in range(20):
        changed = augment(scene(), np.random.default_rng(seed))
        assert changed.objects.labels.tolist() == [3, 4]
        assert changed.objects.ignored.tolist() == [False, True]
        assert_boxes_hold_their_colours(changed)
        sizes.add(changed.size)
    assert (len(sizes) > 5) == (augment.expand > 1)


def test_crops_keep_objects_whose_centre_is_inside_and_cut_their_boxes_off() -> None:
    kept, cut = set(), 0
    for seed in range(60):
        changed = CROPS(scene(), np.random.default_rng(seed))
        kept.add(tuple(changed.objects.labels.tolist()))
        height, width = changed.size
        assert len(changed.objects), "a crop without an object is no crop"
        assert (changed.objects.boxes >= 0).all() and (changed.objects.boxes <= [width, height, width, height]).all()
        for (x1, y1, x2, y2), label in zip(changed.objects.boxes.astype(int), changed.objects.labels, strict=True):
            assert (changed.image[y1:y2, x1:x2] == {3: 100, 4: 200}[int(label)]).all()
            cut += (x2 - x1, y2 - y1) not in ((30, 20), (35, 25))
    assert kept == {(3,), (4,), (3, 4)}
    assert cut > 5


def test_without_objects_there_is_nothing_to_crop_around() -> None:
    empty = Scene(scene().image, Objects.of([], [], []))
    changed = CROPS(empty, np.random.default_rng(0))
    assert changed.size == (60, 90)
    assert len(changed.objects) == 0


def test_mixing_lays_both_pictures_at_the_top_left_and_weighs_their_objects_alike() -> None:
    first, second = scene(), Scene(np.full((80, 40, 3), 250, np.uint8), Objects.of([(1, 2, 3, 4)], [7], [False]))
    both = mixed(first, second, np.random.default_rng(1))
    assert both.size == (80, 90)
    assert both.objects.labels.tolist() == [3, 4, 7]
    share = float(both.objects.weights[0])
    assert 0 < share < 1
    np.testing.assert_allclose(both.objects.weights, [share, share, 1 - share], rtol=1e-6)
    assert both.image[0, 0, 0] == round((1 - share) * 250)
    assert both.image[40, 60, 0] == round(share * 200)
    assert both.image[79, 89, 0] == 0


def test_colours_change_now_and_then_and_within_bounds() -> None:
    image = np.random.default_rng(0).integers(60, 180, (20, 20, 3), np.uint8)
    changed = [Distortion()(image, np.random.default_rng(seed)) for seed in range(200)]
    assert all(one.dtype == np.uint8 and one.shape == image.shape for one in changed)
    same = sum(np.array_equal(one, image) for one in changed)
    assert 2 < same < 30, "a sixteenth: each of four changes is left out half of the time"
    bright = Distortion(probability=1.0, brightness=0.2, contrast=0, saturation=0, hue=0)
    ratios = [bright(image, np.random.default_rng(seed)).mean() / image.mean() for seed in range(20)]
    assert 0.79 < min(ratios) < 0.9 and 1.1 < max(ratios) < 1.21
