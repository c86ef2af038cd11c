"""Every image classifier gives what its reference gives, in Paddle and as ONNX."""

import csv
from importlib import import_module
from pathlib import Path

import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from convert.parity import measure_parity
from edge_kit.core.tensors import random_inputs
from edge_kit.train.inference import layer_run
from edge_kit.zoo import MODELS, ZooEntry, load_all
from runtimes.registry import get_runtime
from tests.zoo.counting import counted, static_program
from tests.zoo.liveliness import differs, lively

load_all()
FLOPS = Path(__file__).parent / "published_flops.tsv"
WIDTHS = ("x0_25", "x0_33", "x0_5", "x1_0", "x1_5", "x2_0")
CLASSIFIERS = [entry for entry in MODELS if entry.task == "classify" and entry.family == "image_classification"]
# Computed in every run of the tests; the others in the slow ones, where VGG19 alone writes 600 MB four times.
LIGHT = {
    "googlenet",
    "mobilenetv1_x0_25",
    "mobilenetv2_x0_25",
    "mobilenetv3_small_x0_35",
    "resnet18_vd",
    "se_resnet50_vd",
    "shufflenetv2",
    "squeezenet1_1",
}
COMPUTED = [
    pytest.param(entry, id=entry.id, marks=() if entry.id in LIGHT else pytest.mark.slow) for entry in CLASSIFIERS
]


@pytest.mark.parametrize("entry", CLASSIFIERS, ids=lambda entry: entry.id)
def test_multiply_accumulates_are_within_one_percent_of_the_published(entry: ZooEntry) -> None:
    """PaddleClas d178931 publishes two tables of operations, and counts batch norm as two a value in the later one."""
    published = {row["id"]: row for row in csv.DictReader(FLOPS.open(), delimiter="\t")}[entry.id]
    count = counted(entry.id)
    ours = 2 * count.macs if published["counts"] == "twice MACs" else count.macs + 2 * count.normalised
    assert ours == pytest.approx(1e9 * float(published["published_gflops"]), rel=0.01)


@pytest.mark.parametrize("entry", COMPUTED)
def test_the_onnx_graph_equals_paddle_at_the_published_size(entry: ZooEntry, tmp_path: Path) -> None:
    paddle.seed(11)
    net = lively(entry.build(**entry.published_sizes), entry.mini.preprocess.crop)
    (spec,) = entry.graphs(entry.published.preprocess).values()
    export_paddle(net, spec, tmp_path / "main")
    paddle_to_onnx(tmp_path / "main", tmp_path / "converted.onnx", spec)
    canonicalise(tmp_path / "converted.onnx", tmp_path / "main.onnx")
    session = get_runtime("onnx").load(tmp_path / "main.onnx")
    batches = [random_inputs(spec.inputs, batch=2, seed=3)]
    (parity,) = measure_parity(layer_run(net, spec), session.run, batches)
    assert parity.max_rel <= 1e-4
    assert differs(layer_run(net, spec)(batches[0])["logits"])


@pytest.mark.parametrize("entry", COMPUTED)
def test_ten_classes_and_mini_pictures_fit_the_network(entry: ZooEntry) -> None:
    (spec,) = entry.graphs(entry.mini.preprocess).values()
    with static_program():
        net = entry.build(num_classes=10)
        image = paddle.static.data("image", list(spec.inputs[0].with_batch(2)))
        results = net(image)  # in training mode, with the auxiliary heads of a network that has some
        for logits in results if isinstance(results, tuple) else (results,):
            assert logits.shape == (2, 10)


@pytest.mark.parametrize("side", [64, 192])
def test_googlenet_trains_with_both_auxiliary_heads_whatever_the_size(side: int) -> None:
    with static_program():
        net = MODELS.get("googlenet").build(num_classes=10)
        results = net(paddle.static.data("image", [2, 3, side, side]))
    assert [tuple(logits.shape) for logits in results] == [(2, 10)] * 3


PADDLES_OWN = [  # (id, module and function of paddle.vision.models, key of its table of addresses)
    ("mobilenetv1", "mobilenetv1", "mobilenet_v1", "mobilenetv1_1.0"),
    *((f"shufflenetv2_{x}", "shufflenetv2", f"shufflenet_v2_{x}", f"shufflenet_v2_{x}") for x in WIDTHS),
    ("shufflenetv2", "shufflenetv2", "shufflenet_v2_swish", "shufflenet_v2_swish"),
    ("googlenet", "googlenet", "googlenet", "googlenet"),
    ("alexnet", "alexnet", "alexnet", "alexnet"),
    *((name, "resnet", name, name) for name in (f"resnext{d}_{g}x4d" for d in (50, 101, 152) for g in (32, 64))),
    *((name, "squeezenet", name, name) for name in ("squeezenet1_0", "squeezenet1_1")),
    *((name, "densenet", name, name) for name in (f"densenet{d}" for d in (121, 161, 169, 201, 264))),
]


@pytest.mark.parametrize(("model", "module", "function", "key"), PADDLES_OWN)
def test_paddles_own_networks_take_the_weights_at_paddles_own_addresses(
    model: str, module: str, function: str, key: str
) -> None:
    entry = MODELS.get(model)
    defined = import_module(f"paddle.vision.models.{module}")
    assert entry.published.weights == defined.model_urls[key][0]
    with paddle.LazyGuard():
        ours, theirs = entry.build(num_classes=1000), getattr(defined, function)()
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
