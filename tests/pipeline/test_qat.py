"""`compress --quantize qat`, from trained weights to a bundle, as a user starts it."""

from pathlib import Path

import pytest

from edge_kit.core.bundle import Bundle
from tests.conftest import TOY, Cli, Result
from tests.pipeline.test_compress import kill_in_stage

QAT = (*TOY, "--quantize", "qat")
STAGES = ["data", "train", "export", "qat", "lower", "judge", "measure", "bundle"]


@pytest.fixture(scope="module")
def qat_run(toy_run: Result, session_cli: Cli) -> Result:
    return session_cli(*QAT, "--json")


def test_it_trains_on_instead_of_calibrating_and_every_layer_is_in_int8(qat_run: Result, toy_run: Result) -> None:
    assert qat_run.code == 0, qat_run.err
    report = qat_run.json
    assert [stage["name"] for stage in report["stages"]] == STAGES
    assert [stage["name"] for stage in report["stages"] if stage["cached"]] == ["data", "train", "export"]
    assert report["facts"]["lowering"]["main"]["quantized"] == {
        "Conv": 4, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1,
    }  # fmt: skip
    assert report["facts"]["lowering"]["main"]["passes"]["lift_quantization"] == 5
    assert report["models"]["fp32"]["metric"] == toy_run.json["models"]["fp32"]["metric"]
    assert report["bundle"].endswith("toynet-qat")


def test_the_receipt_tells_the_recipe(qat_run: Result) -> None:
    receipt = Bundle(Path(qat_run.json["bundle"])).receipt()
    assert receipt["request"]["quantize"] == "qat"
    assert receipt["quantization"]["settings"]["recipe"]["learning_rate"] == pytest.approx(0.0005)
    assert receipt["quantization"]["training"]["steps"] == 20


def test_a_pruned_network_is_trained_on_from_its_own_weights(qat_run: Result, session_cli: Cli) -> None:
    done = session_cli(*QAT, "--prune", "0.4", "--json")
    assert done.code == 0, done.err
    assert set(done.json["models"]) == {"fp32", "pruned", "int8"}
    sizes = {name: model["size_bytes"] for name, model in done.json["models"].items()}
    assert sizes["int8"] < qat_run.json["models"]["int8"]["size_bytes"]


@pytest.mark.slow
def test_after_a_kill_the_next_run_goes_on_and_ends_with_the_same_bundle(qat_run: Result, cli: Cli) -> None:
    kill_in_stage("qat", cli, *QAT)
    again = cli(*QAT, "--json")
    assert again.code == 0, again.err
    assert [stage["name"] for stage in again.json["stages"] if stage["cached"]] == STAGES[:3]
    assert again.json["digest"] == qat_run.json["digest"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("toynet", "--quantize", "qta"), "unknown way to quantize 'qta'; did you mean 'qat'?"),
        (
            ("toynet", "--quantize", "qat", "--algorithm", "KL"),
            "--quantize qat learns its ranges; leave out --algorithm",
        ),
        (("net.onnx", "--quantize", "qat"), "'net.onnx' comes without a loss to train it by; leave out --quantize qat"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(options: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli("compress", *options)
    assert (done.code, done.is_one_line()) == (2, True)
    assert message in done.err


@pytest.mark.slow
def test_mobilenetv2_loses_a_fifth_of_a_point_at_most(session_cli: Cli) -> None:
    done = session_cli("compress", "mobilenetv2", "--weights", "pretrained", "--quantize", "qat", "--json")
    assert done.code == 0, done.err
    models = done.json["models"]
    assert models["fp32"]["metric"]["value"] - models["int8"]["metric"]["value"] <= 0.2
    lowering = done.json["facts"]["lowering"]["main"]
    assert lowering["left_float"] == {}
    assert lowering["quantized"] == {"Conv": 53, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert lowering["passes"]["lift_quantization"] == 54
