"""The rows of a report as CSV and Markdown, and which of them are on a front."""

from __future__ import annotations

import csv
import io

import pytest

from edge_kit.pipeline.report import mark_fronts
from edge_kit.report.rows import as_csv, as_markdown
from tests.report.documents import HOSTILE, document, row


def records() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(document()))))


def test_a_row_is_on_the_front_of_its_runtime_where_none_is_as_fast_and_better() -> None:
    fronts = {(one["bundle"], one["version"], one["runtime"]) for one in document()["rows"] if one["front"]}
    assert fronts == {
        ("small", "fp32", "onnx"),
        ("small", "int8", "onnx"),
        ("large", "int8", "onnx"),
        ("small", "fp32", "openvino"),  # slower than on onnx, and alone on its runtime
    }


@pytest.mark.parametrize("part", ["threads", "batch", "device"])
def test_rows_that_were_not_timed_alike_are_not_held_against_each_other(part: str) -> None:
    rows = [row("a", "fp32", "onnx", 2.0, 90.0, 1), row("a", "int8", "onnx", 1.0, 91.0, 1)]
    mark_fronts(rows)
    assert [one["front"] for one in rows] == [False, True]
    rows[1]["latency"][part] = 4
    mark_fronts(rows)
    assert [one["front"] for one in rows] == [True, True]


def test_of_error_rates_the_lower_one_is_on_the_front() -> None:
    rows = [row("a", "fp32", "onnx", 2.0, 9.0, 1), row("a", "int8", "onnx", 1.0, 10.0, 1)]
    for worse_int8, front in ((True, [True, True]), (False, [False, True])):
        for one in rows:
            one["metric"]["lower_is_better"] = worse_int8
        mark_fronts(rows)
        assert [one["front"] for one in rows] == front


def test_rows_of_two_machines_or_data_sets_are_not_held_against_each_other() -> None:
    rows = [row("a", "fp32", "onnx", 2.0, 90.0, 1), row("a", "int8", "onnx", 1.0, 91.0, 1)]
    rows[1]["machine"] = {**rows[1]["machine"], "cpu": "another"}
    mark_fronts(rows)
    assert all(one["front"] for one in rows)
    rows[1]["machine"] = rows[0]["machine"]
    rows[1]["metric"]["dataset"] = "another"
    mark_fronts(rows)
    assert all(one["front"] for one in rows)


def test_of_two_equal_rows_one_is_on_the_front() -> None:
    rows = [row("a", "fp32", "onnx", 2.0, 90.0, 1), row("b", "fp32", "onnx", 2.0, 90.0, 1)]
    mark_fronts(rows)
    assert [one["front"] for one in rows] == [True, False]


def test_csv_holds_every_figure_with_its_conditions() -> None:
    one = records()[1]
    assert (one["bundle"], one["version"], one["runtime"], one["runtime_version"]) == ("small", "int8", "onnx", "1.2")
    assert (float(one["metric_value"]), one["metric_dataset"], one["metric_samples"]) == (
        89.75,
        "mini-imagenet val",
        "1000",
    )
    assert (float(one["p50_ms"]), float(one["p99_ms"]), one["size_bytes"]) == (1.0, 1.5, "1000000")
    assert (one["threads"], one["batch"], one["warmup"], one["repeats"]) == ("1", "1", "20", "200")
    assert (one["input"], one["cpu"], one["origin"]) == ("image 1x3x64x64", "A processor", "receipt")


def test_what_was_not_measured_is_empty_and_says_why() -> None:
    broken, random = records()[3], records()[6]
    assert (broken["p50_ms"], broken["metric_value"], broken["reason"]) == ("", "", "it has no kernel")
    assert random["metric_value"] == "" and float(random["p50_ms"]) == 1.5


def test_a_name_that_is_a_formula_is_text_to_a_spreadsheet() -> None:
    assert records()[6]["bundle"] == f"'{HOSTILE}"


def test_markdown_holds_the_same_figures_and_numbers_their_conditions() -> None:
    text = as_markdown(document())
    assert "| small | image classification | int8 | onnx | top1 89.75 % | 99.50 % | 1.00 MB | 1.000 |" in text
    assert "- (1) onnx 1.2 on cpu, 1 thread(s), batch 1, image 1x3x64x64, 20 warm-up and 200 timed calls" in text
    assert "scored on 1,000 samples of mini-imagenet val" in text and "cannot run: it has no kernel" in text


def test_a_hostile_name_is_no_markup_in_markdown_and_keeps_its_row() -> None:
    text = as_markdown(document())
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(document()["rows"])
    assert {line.replace("\\|", "").count("|") for line in lines} == {13}
    assert "<script" not in text.replace("\\<", "") and "`" not in text.replace("\\`", "")
