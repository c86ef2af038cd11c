"""Every model of the zoo is the published one."""

from fnmatch import fnmatchcase

import paddle
import pytest

from edge_kit.data import FORMATS
from edge_kit.tasks import TASKS
from edge_kit.train.start import begin
from edge_kit.zoo import MODELS, ZooEntry, load_all
from tests.zoo.counting import counted, static_program

load_all()
FIRST_OF_BRANCH = {  # weights of the first convolution of each branch
    "resnet18": "blocks.*.conv0.conv.weight",
    "resnet50_vd": "blocks.*.conv0.conv.weight",
    "senet154_vd": "bb_*.conv0._conv.weight",
    "resnext50_32x4d": "layer*.conv1.weight",
}


def patterns(entry: ZooEntry) -> list[str]:
    """Of parameters, in the recipes of a model."""
    setups = [setup for setup in (entry.published, entry.mini, entry.pretraining) if setup]
    return sorted({pattern for setup in setups for pattern, _ in (*setup.recipe.rates, *setup.recipe.starts)})


EVERY_MODEL = pytest.mark.parametrize("entry", list(MODELS), ids=lambda entry: entry.id)


@EVERY_MODEL
def test_parameters_equal_the_published_count(entry: ZooEntry) -> None:
    assert counted(entry.id).parameters == entry.parameters


@EVERY_MODEL
def test_multiply_accumulates_equal_the_recorded_count(entry: ZooEntry) -> None:
    assert counted(entry.id).macs == entry.macs


def test_counting_by_shapes_equals_counting_while_computing() -> None:
    assert counted("mobilenetv2_x0_25", only_shapes=True) == counted("mobilenetv2_x0_25", only_shapes=False)


@pytest.mark.parametrize("entry", [e for e in MODELS if patterns(e)], ids=lambda entry: entry.id)
def test_what_a_recipe_says_of_parameters_is_of_some_that_the_network_has(entry: ZooEntry) -> None:
    with static_program():
        net = entry.build(**entry.published_sizes)
    names = [name for name, _ in net.named_parameters()]
    assert [pattern for pattern in patterns(entry) if not any(fnmatchcase(name, pattern) for name in names)] == []


@pytest.mark.parametrize("model", ["resnet18", "resnet50_vd", "senet154_vd", "resnext50_32x4d"])
def test_a_residual_network_begins_as_one_without_its_branches(model: str) -> None:
    entry = MODELS.get(model)
    paddle.seed(3)
    net = entry.build(num_classes=10)
    begin(net, entry.mini.recipe, {}, ())
    net.eval()
    picture = paddle.rand([1, 3, 64, 64])
    before = net(picture).numpy()
    for name, parameter in net.named_parameters():
        if fnmatchcase(name, FIRST_OF_BRANCH[model]):
            parameter.set_value(-3 * parameter)
    assert (net(picture).numpy() == before).all()


@EVERY_MODEL
def test_task_and_data_format_are_registered(entry: ZooEntry) -> None:
    assert entry.task in TASKS
    assert entry.data in FORMATS


@EVERY_MODEL
def test_references_name_their_source(entry: ZooEntry) -> None:
    assert all(row.source and row.dataset and row.unit for row in entry.references)


def test_mobilenetv2_carries_the_published_row() -> None:
    rows = {row.metric: row.value for row in MODELS.get("mobilenetv2").references}
    assert rows == {"top1": 72.15, "top5": 90.65}


def test_mobilenetv2_equals_paddle_vision_where_the_two_are_the_same_network() -> None:
    """Paddle's own leaves out the first expansion; with that unit made the identity, outputs must agree."""
    from paddle.vision.models import mobilenet_v2

    entry = MODELS.get("mobilenetv2")
    paddle.seed(3)
    theirs = mobilenet_v2(num_classes=7)
    theirs.eval()
    ours = entry.build(num_classes=7)
    ours.eval()
    first = {name for name, _ in ours.named_parameters() if name.startswith("conv2._first_block._expand_conv")}
    names = [name for name in ours.state_dict() if name not in first and "conv2._first_block._expand_conv" not in name]
    values = list(theirs.state_dict().values())
    assert len(names) == len(values)
    state = dict(zip(names, values, strict=True))
    state["conv2._first_block._expand_conv._conv.weight"] = paddle.eye(32).reshape([32, 32, 1, 1])
    # ReLU6 after the identity changes nothing: its input comes from a ReLU6.
    state["conv2._first_block._expand_conv._batch_norm.weight"] = paddle.full([32], (1 + 1e-5) ** 0.5)
    state["conv2._first_block._expand_conv._batch_norm.bias"] = paddle.zeros([32])
    state["conv2._first_block._expand_conv._batch_norm._mean"] = paddle.zeros([32])
    state["conv2._first_block._expand_conv._batch_norm._variance"] = paddle.ones([32])
    missing, unexpected = ours.set_state_dict(state)
    assert not missing
    assert not unexpected
    image = paddle.randn([2, 3, 64, 64])
    # float32 re-association through 53 convolutions
    assert paddle.allclose(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(Exception, match="did you mean 'mobilenetv2'"):
        MODELS.get("mobilnetv2")
