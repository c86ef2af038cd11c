"""The plots of a report, as plotly takes them; colours come from the page, which knows whether it is dark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from edge_kit.core.errors import MissingDependency
from edge_kit.report.rows import Row, figure

COLOURS = ("onnx", "openvino", "mnn", "ncnn", "paddle")  # a runtime keeps its colour from report to report
OTHERS = 2  # further colours, of other runtimes
SYMBOLS = {"fp32": "circle", "int8": "diamond", "pruned": "square"}
OTHER_SYMBOL = "triangle-up"
VERSIONS = ("fp32", "int8", "pruned")
LARGEST, SMALLEST = 44, 9  # diameter of a point, in pixels
WIDE = 20.0  # of the slowest over the fastest from which on an axis is logarithmic
SHOWN_LAYERS, SHOWN_KINDS, SHOWN_CLASSES = 25, 12, 30
BINS, TAIL = 40, 99  # of a histogram, and the percentile where it ends
BAR_PIXELS, FRAME_PIXELS = 24, 90

Figure = dict[str, Any]


def library() -> str:
    """plotly.js, all of it.

    Raises:
        MissingDependency: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingDependency("edge-kit report", "plotly", "report") from None
    text: str = get_plotlyjs()
    return text


def front(rows: Sequence[tuple[int, Row]]) -> Figure:
    """Metric against latency, size as area, a colour and a front a runtime.

    Args:
        rows: Of one metric, each with its number in the table.
    """
    runtimes: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for number, row in rows:
        runtimes[row["runtime"]].append((number, row))
    largest = max(row["size_bytes"] for _, row in rows)
    traces = [one for name, found in runtimes.items() for one in _of_runtime(name, found, largest, list(runtimes))]
    metric = rows[0][1]["metric"]
    times = [row["latency"]["p50_ms"] for _, row in rows]
    wide = max(times) > WIDE * min(times)
    axes = {
        "xaxis": {
            "title": {"text": "latency p50, ms"},
            **({"type": "log", "dtick": "D2"} if wide else {"rangemode": "tozero"}),
        },
        "yaxis": {"title": {"text": _text(f"{metric['name']}, {metric['unit']}")}},
    }
    return _checked(traces, {**axes, "height": 440, "hovermode": "closest"})


def _of_runtime(name: str, rows: Sequence[tuple[int, Row]], largest: int, runtimes: Sequence[str]) -> list[Figure]:
    colour = _colour(name, runtimes)
    edge = sorted((one for one in rows if one[1]["front"]), key=lambda one: one[1]["latency"]["p50_ms"])
    line = {
        "type": "scatter",
        "mode": "lines",
        "line": {"shape": "hv", "dash": "dot", "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": name,
        **_points(edge),
        "meta": {"colour": colour, "rows": True},
    }
    marker = {
        "size": [row["size_bytes"] for _, row in rows],
        "sizemode": "area",
        "sizeref": 2 * largest / LARGEST**2,
        "sizemin": SMALLEST / 2,
        "symbol": [SYMBOLS.get(row["version"], OTHER_SYMBOL) for _, row in rows],
        "opacity": 0.75,
        "line": {"width": 1.5},
    }
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": _text(name),
        "legendgroup": name,
        "marker": marker,
        **_points(rows),
        "text": [_told(row) for _, row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"colour": colour, "rows": True},
    }
    return [line, points]


def _points(rows: Sequence[tuple[int, Row]]) -> Figure:
    return {
        "x": [row["latency"]["p50_ms"] for _, row in rows],
        "y": [row["metric"]["value"] for _, row in rows],
        "customdata": [number for number, _ in rows],
    }


def _told(row: Row) -> str:
    """What a point says when it is looked at."""
    latency, metric = row["latency"], row["metric"]
    lines = [
        f"{row['bundle']} {row['version']} on {row['runtime']} {latency['runtime_version']}",
        f"{figure(metric)}, {metric['samples']:,} samples",
        f"p50 {latency['p50_ms']:.3f} ms, {latency['threads']} thread(s), batch {latency['batch']}",
        f"{row['size_bytes'] / 1e6:.2f} MB",
        row["machine"]["cpu"],
    ]
    return "<br>".join(map(_text, lines))


def bars(names: Sequence[str], values: Sequence[float], unit: str, *, log: bool = False) -> Figure:
    """Horizontal bars, the first on top."""
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": list(values),
        "y": [f"{i}" for i in range(len(names))],
        "hovertemplate": "%{customdata}: %{x:.4g}<extra></extra>",
        "customdata": [_text(name) for name in names],
        "meta": {"colour": 0},
    }
    ticks = {"tickvals": [f"{i}" for i in range(len(names))], "ticktext": [_text(_short(name)) for name in names]}
    positive = [value for value in values if value > 0]
    log = log and bool(positive) and max(positive) > WIDE * min(positive)
    layout = {
        "height": FRAME_PIXELS + BAR_PIXELS * len(names),
        "xaxis": {
            "title": {"text": unit},
            "exponentformat": "power",
            **({"type": "log", "dtick": 1} if log else {"rangemode": "tozero"}),
        },
        "yaxis": {"autorange": "reversed", "type": "category", **ticks},
        "bargap": 0.25,
    }
    return _checked([trace], layout)


def histogram(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Times of single calls of every version on one runtime, as shares of its calls; the slowest 1 % left out.

    Args:
        found: Each with `version` and `times_ms`.
    """
    ends = [np.percentile(one["times_ms"], (0, TAIL)) for one in found]
    edges = np.linspace(min(low for low, _ in ends), max(high for _, high in ends), BINS + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    traces = []
    for one in found:
        counts, _ = np.histogram(one["times_ms"], edges)
        version = one["version"]
        traces.append(
            {
                "type": "bar",
                "name": _text(version),
                "x": [float(x) for x in middles],
                "y": [100 * float(count) / len(one["times_ms"]) for count in counts],
                "opacity": 0.75,
                "hovertemplate": f"{_text(version)}: %{{y:.1f}} % at %{{x:.3f}} ms<extra></extra>",
                "meta": {"colour": VERSIONS.index(version) if version in VERSIONS else len(VERSIONS)},
                "marker": {"pattern": {"shape": "" if version == "fp32" else "/"}},
            }
        )
    axes = {"xaxis": {"title": {"text": "ms"}}, "yaxis": {"title": {"text": "% of calls"}}}
    return _checked(traces, {**axes, "height": 300, "barmode": "overlay", "bargap": 0})


def confusion(chart: Mapping[str, Any]) -> Figure | None:
    """True classes down, answers across; None where there are too many classes for a picture."""
    labels = chart["labels"]
    if not 0 < len(labels) <= SHOWN_CLASSES:
        return None
    counts = np.zeros((len(labels), len(labels)), int)
    for truth, answer, count in chart["counts"]:
        if answer < len(labels):
            counts[truth, answer] = count
    trace = {
        "type": "heatmap",
        "z": counts.tolist(),
        "text": [["" if not value else str(value) for value in row] for row in counts.tolist()],
        "texttemplate": "%{text}" if len(labels) <= 12 else "",
        "hovertemplate": "%{customdata}<extra></extra>",
        "customdata": [
            [f"{_text(a)} taken for {_text(b)}: {counts[i, j]}" for j, b in enumerate(labels)]
            for i, a in enumerate(labels)
        ],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "meta": {"scale": True},
    }
    ticks = {"tickvals": list(range(len(labels))), "ticktext": [_text(_short(one)) for one in labels]}
    layout = {
        "height": 420,
        "xaxis": {"title": {"text": "answer"}, **ticks},
        "yaxis": {"title": {"text": "true class"}, "autorange": "reversed", **ticks},
    }
    return _checked([trace], layout)


def curve(chart: Mapping[str, Any]) -> Figure:
    """Lines of one quality against another."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": _text(name),
            "x": [x for x, _ in points],
            "y": [y for _, y in points],
            "meta": {"colour": i},
        }
        for i, (name, points) in enumerate(chart["lines"].items())
    ]
    axes = {"xaxis": {"title": {"text": _text(chart["x"])}}, "yaxis": {"title": {"text": _text(chart["y"])}}}
    return _checked(traces, {**axes, "height": 380})


def _colour(runtime: str, runtimes: Sequence[str]) -> int:
    if runtime in COLOURS:
        return COLOURS.index(runtime)
    others = sorted(set(runtimes) - set(COLOURS))
    return len(COLOURS) + others.index(runtime) % OTHERS


def _text(text: str) -> str:
    """Plotly reads some HTML in texts, links too."""
    return escape(text, quote=False)


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def _checked(traces: Sequence[Figure], layout: Figure) -> Figure:
    """What plotly's own schema accepts; a misspelt property is an error here and not a gap in the page."""
    try:
        from plotly import graph_objects
    except ImportError:
        raise MissingDependency("edge-kit report", "plotly", "report") from None
    made = graph_objects.Figure(list(traces), {**layout, "template": {}})
    document: Figure = made.to_dict()
    return document
