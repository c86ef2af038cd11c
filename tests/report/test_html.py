"""The page: its figures, its words and what it lets in; a browser looks at it in test_browser.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from edge_kit.report.html import as_html
from tests.report.documents import HOSTILE, document

AA_TEXT, AA_GRAPHICS = 4.5, 3.0  # contrast, WCAG 2.2, 1.4.3 and 1.4.11


class Page(HTMLParser):
    """Tags with their attributes, the cells of the first table, scripts and the order of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open[-1:]:
            self.scripts.append((self.tags[-1][1].get("type"), data))
        elif {"td", "th"} & set(self._open) and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return as_html(document())


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def figures(page: Page) -> list[dict[str, Any]]:
    return [json.loads(script) for kind, script in page.scripts if kind == "application/json"]


def test_the_table_holds_the_figures_of_every_row(page: Page) -> None:
    rows = [[cell.strip() for cell in row] for row in page.rows[1:8]]
    assert rows[1] == [
        "small", "image classification", "int8", "onnx", "top1 89.75 %", "99.50 %", "1.00 MB", "1.000",
        "1.100", "1.500", "yes", "1",
    ]  # fmt: skip
    assert rows[3][4:11] == ["-", "-", "0.00 MB", "-", "-", "-", "-"]
    assert rows[6][0] == HOSTILE and rows[6][4] == "-"


def test_the_front_plots_every_scored_row_with_its_size_as_area_and_a_line_a_runtime(page: Page) -> None:
    front = figures(page)[0]
    points = {one["name"]: one for one in front["data"] if one["mode"] == "markers"}
    assert list(points) == ["onnx", "openvino"]
    onnx = points["onnx"]
    assert onnx["x"] == [2.0, 1.0, 8.0, 4.0] and onnx["y"] == [90.25, 89.75, 90.0, 95.5]
    assert onnx["marker"]["size"] == [4_000_000, 1_000_000, 40_000_000, 10_000_000]
    assert onnx["marker"]["sizemode"] == "area" and onnx["customdata"] == [0, 1, 4, 5]
    assert "p50 1.000 ms, 1 thread(s), batch 1" in onnx["text"][1] and "1,000 samples" in onnx["text"][1]
    line = next(one for one in front["data"] if one["mode"] == "lines")
    assert list(zip(line["x"], line["y"], strict=True)) == [(1.0, 89.75), (2.0, 90.25), (4.0, 95.5)]


def test_a_histogram_counts_every_call_but_the_slowest(page: Page) -> None:
    found = next(one for one in figures(page) if one["layout"].get("barmode") == "overlay")
    assert [round(sum(trace["y"])) for trace in found["data"]] == [100, 100]
    x, y = (np.array(found["data"][1][name]) for name in "xy")
    assert 1.0 <= (x * y).sum() / y.sum() <= 1.06


def test_stages_sensitivity_operators_and_confusions_are_plotted(page: Page) -> None:
    stages = next(one for one in figures(page) if one["layout"]["xaxis"]["title"]["text"] == "seconds")
    assert stages["data"][0]["x"] == [12.5, 3.25]
    matrix = next(one for one in figures(page) if one["data"][0]["type"] == "heatmap")
    assert matrix["data"][0]["z"] == [[7, 3], [0, 10]]
    titles = {one["layout"]["xaxis"]["title"]["text"] for one in figures(page)}
    assert {"ms", "noise over signal of the outputs", "latency p50, ms", "answer"} <= titles


def test_a_task_may_give_curves_instead(text: str) -> None:
    report = document()
    chart = {"kind": "curve", "x": "recall", "y": "precision", "lines": {"cat": [[0.0, 1.0], [1.0, 0.5]]}}
    report["models"][0]["shown"]["charts"] = {"int8": chart}
    found = next(one for one in figures(Page(as_html(report))) if one["layout"]["xaxis"]["title"]["text"] == "recall")
    assert (found["data"][0]["x"], found["data"][0]["y"]) == ([0.0, 1.0], [1.0, 0.5])


def test_a_hostile_name_is_text_everywhere(text: str, page: Page) -> None:
    ours = [script for kind, script in page.scripts if kind is None]
    assert len(ours) == 2, "plotly and the page's own"
    rest = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "alert(1)" in rest and "<script>alert" not in rest
    assert not [attrs for attrs in page.all("a") if "evil" in str(attrs.get("href"))]
    labels = [one for one in figures(page) if one["data"][0]["type"] == "heatmap"][0]["layout"]["xaxis"]["ticktext"]
    assert all("<" not in label for label in labels), "plotly reads some HTML"


def test_nothing_is_loaded_and_the_policy_lets_just_these_scripts_run(page: Page) -> None:
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    [policy] = [attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert "http" not in policy and "unsafe-eval" not in policy
    for kind, script in page.scripts:
        if kind is None:
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert not [tag for tag, attrs in page.tags if any(name.startswith("on") for name in attrs)]


def test_tables_have_captions_and_scopes_controls_have_labels_and_pictures_words(text: str, page: Page) -> None:
    tables = text.count("<table")
    assert tables == text.count("<caption>") > 5
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert all(attrs.get("aria-label") for attrs in page.all("div") if attrs.get("role") in ("img", "region"))
    assert all("tabindex" in attrs for attrs in page.all("div") if attrs.get("role") == "region"), (
        "scrolled by keyboard"
    )
    for control in re.findall(r"<(?:input|select)[^>]*>", text.partition("</form>")[0]):
        assert re.search(rf"<label>[^<]+{re.escape(control)}", text), control
    assert page.all("html")[0]["lang"] == "en"


def test_headings_leave_out_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_have_contrast(text: str, dark: bool) -> None:
    light_part, _, dark_part = text.partition("prefers-color-scheme: dark")
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light_part))
    if dark:
        colours |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", dark_part.partition("}")[0]))
    for ground in ("ground", "raised"):
        for name in ("text", "soft", "link", "bad"):
            assert contrast(colours[name], colours[ground]) >= AA_TEXT, (name, ground)
    for name in (one for one in colours if re.fullmatch(r"c\d", one)):
        assert contrast(colours[name], colours["ground"]) >= AA_GRAPHICS, name


def contrast(first: str, second: str) -> float:
    """Source: WCAG 2.2, the definitions of contrast ratio and relative luminance."""
    bright = sorted((luminance(first), luminance(second)))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
