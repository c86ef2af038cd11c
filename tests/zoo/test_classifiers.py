"""Every image classifier gives what its reference gives, in Paddle and as ONNX."""

from pathlib import Path

import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.parity import measure_parity
from edge_kit.core.tensors import random_inputs
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, ZooEntry, load_all
from runtimes.registry import get_runtime
from tests.zoo.counting import static_program

load_all()
CLASSIFIERS = [entry for entry in MODELS if entry.task == "classify" and entry.family == "image_classification"]
# One of a family is exported in every run of the tests, the others in the slow ones.
LIGHTEST = {"mobilenetv1_x0_25", "mobilenetv2_x0_25", "resnet18_vd"}
EXPORTED = [
    pytest.param(entry, id=entry.id, marks=() if entry.id in LIGHTEST else pytest.mark.slow) for entry in CLASSIFIERS
]


def with_statistics(net: paddle.nn.Layer) -> paddle.nn.Layer:
    """Give batch norms statistics as after training, so that a swapped or forgotten one shows."""
    paddle.seed(7)
    for name, value in net.state_dict().items():
        if name.endswith("_mean"):
            value.set_value(paddle.normal(0.0, 0.1, value.shape))
        elif name.endswith("_variance"):
            value.set_value(paddle.uniform(value.shape, min=0.5, max=1.5))
    net.eval()
    return net


@pytest.mark.parametrize("entry", EXPORTED)
def test_the_onnx_graph_equals_paddle_at_the_published_size(entry: ZooEntry, tmp_path: Path) -> None:
    paddle.seed(11)
    net = with_statistics(entry.build(**entry.published_sizes))
    (spec,) = entry.graphs(entry.published.preprocess).values()
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    session = get_runtime("onnx").load(tmp_path / "main.onnx")
    batches = [random_inputs(spec.inputs, batch=2, seed=3)]
    (parity,) = measure_parity(layer_run(net, spec), session.run, batches)
    assert parity.max_rel <= 1e-4
    assert layer_run(net, spec)(batches[0])["logits"].std(axis=0).max() > 0  # the two pictures differ


@pytest.mark.parametrize("entry", CLASSIFIERS, ids=lambda entry: entry.id)
def test_ten_classes_and_mini_pictures_fit_the_network(entry: ZooEntry) -> None:
    (spec,) = entry.graphs(entry.mini.preprocess).values()
    with static_program():
        net = entry.build(num_classes=10)
        image = paddle.static.data("image", list(spec.inputs[0].with_batch(2)))
        trained = net(image)
        for logits in trained if isinstance(trained, tuple) else (trained,):
            assert logits.shape == (2, 10)
        net.eval()
        assert net(image).shape == (2, 10)


def test_mobilenetv1_carries_the_weights_of_paddle_vision_by_their_names() -> None:
    from paddle.vision.models import mobilenet_v1
    from paddle.vision.models.mobilenetv1 import model_urls

    entry = MODELS.get("mobilenetv1")
    assert entry.published.weights == model_urls["mobilenetv1_1.0"][0]
    assert list(entry.build(num_classes=7).state_dict()) == list(mobilenet_v1(num_classes=7).state_dict())
