"""The losses of metric learning, written out number by number, and the network that they train."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from edge_kit.core.tensors import MAIN
from edge_kit.tasks import TASKS
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, load_all
from edge_kit.zoo.metric_learning.losses import ArcMargin, Eml, NPairs, Quadruplet, Triplet

load_all()
RNG = np.random.default_rng(5)
WIDTH = 6
LABELS = np.repeat(np.arange(4), 2)  # pairs
POINTS = RNG.normal(0, 1, (8, WIDTH)).astype(np.float32)


def loss_of(layer: paddle.nn.Layer, points: np.ndarray, labels: np.ndarray) -> float:
    """The loss; every embedding must get a finite gradient."""
    embedding = paddle.to_tensor(points, stop_gradient=False)
    loss = layer(embedding, paddle.to_tensor(labels))
    loss.backward()
    assert np.isfinite(embedding.grad.numpy()).all()
    assert embedding.grad.numpy().any()
    return float(loss)


def unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def squared(points: np.ndarray) -> np.ndarray:
    return ((points[:, None] - points[None]) ** 2).sum(2)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]))


def test_arcmargin_widens_the_angle_to_the_true_class() -> None:
    paddle.seed(0)
    layer = ArcMargin(4, WIDTH, scale=5.0, margin=0.3)
    directions = unit(layer.weight.numpy().astype(np.float64))
    points = POINTS.copy()
    points[0] = -3 * directions[0]  # an angle of pi, beyond which there is nothing to widen
    angles = np.arccos(np.clip(unit(points.astype(np.float64)) @ directions.T, -1, 1))
    logits = np.cos(angles)
    for i, label in enumerate(LABELS):
        angle = angles[i, label]
        inside = angle < np.pi - 0.3
        logits[i, label] = np.cos(angle + 0.3) if inside else np.cos(angle) - 0.3 * np.sin(np.pi - 0.3)
    assert loss_of(layer, points, LABELS) == pytest.approx(cross_entropy(5 * logits, LABELS), rel=1e-4)
    assert (ArcMargin(4, WIDTH).scale, ArcMargin(4, WIDTH).margin) == (80.0, 0.15)


def test_triplets_are_held_apart_by_the_margin() -> None:
    points = np.concatenate([POINTS, POINTS[:1] + 0.01])
    distances = squared(unit(points))
    wanted = [max(distances[i, i + 1] - distances[i, i + 2] + 0.1, 0) for i in (0, 3, 6)]
    assert min(wanted) == 0 < max(wanted), "one is far enough apart, and one is not"
    assert loss_of(Triplet(3, WIDTH), points, np.repeat(np.arange(3), 3)) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_quadruplet_holds_the_widest_pair_against_the_narrowest() -> None:
    distances = squared(unit(POINTS))
    same = LABELS[:, None] == LABELS
    wanted = distances[same].max() - distances[~same].min() + 0.1
    assert loss_of(Quadruplet(4, WIDTH), POINTS, LABELS) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("size", [1.0, 5.0], ids=["by the formula", "beyond it, where e^b would overflow"])
def test_eml_counts_smoothly_what_is_nearer_than_the_farthest_of_its_own(size: float) -> None:
    points = size * POINTS
    distances, terms = squared(points.astype(np.float64)), []
    for i, label in enumerate(LABELS):
        others = [j for j in range(8) if j != i]
        near = np.array([distances[i, j] for j in others if LABELS[j] == label])
        far = np.array([distances[i, j] for j in others if LABELS[j] != label])
        theta = np.exp(near - near.max()).mean() * np.exp(far.min() - far).mean()
        b = near.max() - far.min()
        terms.append(np.logaddexp(0, np.log(1e5 * theta) + b) / np.log(1 + 1e5))
    assert loss_of(Eml(4, WIDTH), points, LABELS) == pytest.approx(np.mean(terms), rel=1e-4)


def test_npairs_finds_each_firsts_partner_among_all_second_ones() -> None:
    likeness = POINTS[0::2] @ POINTS[1::2].T
    wanted = cross_entropy(likeness, np.arange(4)) + 0.005 * (POINTS**2).sum(1).mean()
    assert loss_of(NPairs(4, WIDTH), POINTS, LABELS) == pytest.approx(wanted, rel=1e-5)


def test_the_network_is_that_of_the_classifier_without_its_last_layer() -> None:
    paddle.seed(1)
    entry = MODELS.get("resnet50_arcmargin")
    net, classifier = entry.build(num_classes=3), MODELS.get("resnet50").build(num_classes=5)
    state = classifier.state_dict()
    assert set(state) - set(net.backbone.state_dict()) == {"fc.weight", "fc.bias"}
    net.backbone.set_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    (spec,) = entry.graphs(entry.mini.preprocess).values()
    image = RNG.normal(0, 1, (2, 3, 32, 32)).astype(np.float32)
    embedding = layer_run(net, spec)({"image": image})["embedding"]
    classifier.eval()
    logits = classifier(paddle.to_tensor(image)).numpy()
    wanted = embedding @ state["fc.weight"].numpy() + state["fc.bias"].numpy()
    np.testing.assert_allclose(wanted, logits, rtol=1e-4, atol=1e-6)


def test_the_class_matrix_is_trained_and_is_in_no_graph(tmp_path: Path) -> None:
    entry = MODELS.get("resnet50_arcmargin")
    net = entry.build(num_classes=3)
    held = {name for name, _ in entry.graphs(entry.mini.preprocess)[MAIN].part(net).named_parameters()}
    assert net.loss.weight.shape == [3, 2048]
    assert not any("loss" in name for name in held)
    batch = {"image": paddle.randn([2, 3, 32, 32]), "label": paddle.to_tensor([0, 2])}
    TASKS.get(entry.task).loss(net, batch).backward()
    assert net.loss.weight.grad is not None


def test_all_five_losses_train_one_network_and_carry_their_rows() -> None:
    rows = {entry.id: entry.references[0].value for entry in MODELS if entry.family == "metric_learning"}
    assert rows == {
        "resnet50_arcmargin": 78.11,
        "resnet50_triplet": 79.21,
        "resnet50_quadruplet": 79.59,
        "resnet50_eml": 80.11,
        "resnet50_npairs": 79.81,
    }
