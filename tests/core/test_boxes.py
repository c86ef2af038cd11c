"""Overlaps of boxes, and which of them are left."""

import numpy as np

from edge_kit.core.boxes import Suppression, areas, detections, overlaps, strongest


def test_overlap_is_intersection_over_union() -> None:
    first = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [5, 5, 5, 5]], np.float32)
    second = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [7, 7, 9, 9], [5, 5, 5, 5]], np.float32)
    np.testing.assert_allclose(overlaps(first, second), [[2 / 6, 1, 0, 0], [0, 1 / 4, 0, 0], [0, 0, 0, 0]], rtol=1e-6)
    assert areas(np.array([[3.0, 0, 1, 5]])).tolist() == [0]
    assert overlaps(np.zeros((0, 4)), second).shape == (0, 4)


def test_the_strongest_removes_what_it_overlaps_and_what_was_removed_removes_nothing() -> None:
    row = np.array([[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1], [9, 0, 10, 1]], np.float32)
    # 0 and 1 share 3 of 5, 1 and 2 likewise, 0 and 2 share 2 of 6: without 1 the other two stay.
    assert strongest(row, np.array([0.9, 0.8, 0.7, 0.95]), 0.5).tolist() == [3, 0, 2]
    assert strongest(row, np.array([0.7, 0.9, 0.8, 0.1]), 0.5).tolist() == [1, 3]
    assert strongest(row, np.array([0.9, 0.8, 0.7, 0.95]), 0.6).tolist() == [3, 0, 1, 2], "as much is not more"
    assert strongest(row[:2], np.array([0.5, 0.5]), 0.5).tolist() == [0], "of equal ones the first"


def test_detections_are_thinned_out_class_by_class_and_cut_to_the_surest() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2]], np.float32)
    scores = np.array([[0.9, 0.3], [0.8, 0.6], [0.01, 0.2]], np.float32)
    found = detections(boxes, scores, Suppression(0.01, 0.5, 400, 200))
    assert found.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(found.boxes, boxes[[0, 1, 2]])
    assert len(detections(boxes, scores, Suppression(0.01, 0.5, 400, 2)).scores) == 2
    alone = detections(boxes, scores, Suppression(0.01, 0.5, 1, 200))
    np.testing.assert_allclose(alone.scores, [0.9, 0.6], rtol=1e-6)
    assert len(found.at_least(0.6).scores) == 2
    nothing = detections(boxes, np.zeros((3, 2), np.float32), Suppression(0.01, 0.5, 400, 200))
    assert (nothing.boxes.shape, nothing.labels.dtype) == ((0, 4), np.int64)
