"""One HTML page of a report: nothing in it is loaded from anywhere, and a policy in it forbids that."""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np

from edge_kit.core.errors import MissingDependency
from edge_kit.report import figures
from edge_kit.report.rows import FRONT, HEADINGS, Row, cells, numbered, timing

QUANTILES = (0, 10, 50, 90, 99, 100)
MISTAKES = 10

Document = Mapping[str, Any]


def check_page() -> None:
    """Make sure that a page can be made, before the work that it is of.

    Raises:
        MissingDependency: plotly or jinja2 is not installed.
    """
    figures.library()
    _template()


def as_html(report: Document) -> str:
    """The whole page.

    Raises:
        MissingDependency: plotly or jinja2 is not installed.
    """
    from markupsafe import Markup

    template, style = _template(), _part("report.css")
    scripts = [_one_line_ends(figures.library()), _part("report.js")]
    hashes = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    rows, places = report["rows"], numbered(report["rows"])
    models = {(one["name"], one["digest"]): i for i, one in enumerate(report["models"])}
    page: str = template.render(
        made=report["made"],
        policy=f"{policy}; form-action 'none'",
        style=Markup(style),
        scripts=[Markup(text) for text in scripts],
        headings=HEADINGS,
        rows=[
            {**_row(row), "number": i, "place": places[0][i], "model": models[row["bundle"], row["digest"]]}
            for i, row in enumerate(rows)
        ],
        conditions=places[1],
        front=FRONT,
        fronts=[_front(found) for found in _by_quality(rows)],
        choices={name: list(dict.fromkeys(row[name] for row in rows)) for name in ("runtime", "version", "family")},
        models=[_model(i, one) for i, one in enumerate(report["models"])],
    )
    return page


def _template() -> Any:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise MissingDependency("edge-kit report", "jinja2", "report") from None
    # Names come from outside: whatever a template prints is escaped.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_part), trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html")


def _part(name: str) -> str:
    return (files("edge_kit.report") / "page" / name).read_text(encoding="utf-8")


def _one_line_ends(script: str) -> str:
    """As a browser sees it when it hashes: its parser turns every line end into one."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _row(row: Row) -> dict[str, Any]:
    latency, metric = row["latency"] or {}, row["metric"] or {}
    order = [None] * 4 + [metric.get("value"), (row["agreement"] or {}).get("value"), row["size_bytes"]]
    order += [latency.get(name) for name in ("p50_ms", "p90_ms", "p99_ms")] + [None]
    told = {name: row[name] for name in ("bundle", "runtime", "version", "family", "id", "title", "reason")}
    return {"cells": list(zip(cells(row), order, strict=True)), **told}


def _by_quality(rows: Sequence[Row]) -> list[list[tuple[int, Row]]]:
    """Rows that can share a plot: of one metric on one data set."""
    found: dict[Any, list[tuple[int, Row]]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row["metric"] and row["latency"]:
            metric = row["metric"]
            found[metric["name"], metric["unit"], metric["dataset"], metric["samples"]].append((number, row))
    return list(found.values())


def _front(rows: list[tuple[int, Row]]) -> dict[str, Any]:
    metric = rows[0][1]["metric"]
    best = [f"{row['bundle']} {row['version']} on {row['runtime']}" for _, row in rows if row["front"]]
    return {
        "title": f"{metric['name']} on {metric['samples']:,} samples of {metric['dataset']}",
        "figure": figures.front(rows),
        "count": len(rows),
        "best": best,
        "mixed": len({row["machine"]["cpu"] for _, row in rows}) > 1,
    }


def _model(number: int, model: Document) -> dict[str, Any]:
    shown = model["shown"] or {"explained": None, "charts": {}, "examples": [], "data": None}
    return {
        **model,
        "number": number,
        "stages": _stages(model["stages"]),
        "sensitivity": _sensitivity(model["sensitivity"]),
        "histograms": _histograms(model["latencies"]),
        "explained": shown["explained"],
        "graphs": [_graph(one) for one in (shown["explained"] or {"graphs": []})["graphs"]],
        "charts": [_chart(version, one) for version, one in shown["charts"].items()],
        "examples": shown["examples"],
        "data": shown["data"],
    }


def _stages(stages: Sequence[Document]) -> dict[str, Any] | None:
    if not stages:
        return None
    names, seconds = [one["name"] for one in stages], [one["seconds"] for one in stages]
    rows = [(name, f"{value:.1f}") for name, value in zip(names, seconds, strict=True)]
    return {"figure": figures.bars(names, seconds, "seconds"), "rows": rows, "total": f"{sum(seconds):.0f}"}


def _sensitivity(ranking: Document | None) -> dict[str, Any] | None:
    if not ranking or not ranking["layers"]:
        return None
    worst = ranking["layers"][: figures.SHOWN_LAYERS]
    names = [one["node"] for one in worst]
    rows = [
        (one["node"], one["operator"], f"{one['noise']:.2e}", "-" if one["same"] is None else f"{one['same']:.1%}")
        for one in ranking["layers"]
    ]
    figure = figures.bars(names, [one["noise"] for one in worst], "noise over signal of the outputs", log=True)
    return {**ranking, "figure": figure, "rows": rows, "worst": len(worst)}


def _histograms(latencies: Sequence[Document]) -> list[dict[str, Any]]:
    found: dict[str, list[Document]] = defaultdict(list)
    for one in latencies:
        found[one["runtime"]].append(one)
    return [
        {
            "runtime": runtime,
            "figure": figures.histogram(ones),
            "rows": [_quantiles(one) for one in ones],
            "conditions": list(dict.fromkeys(_taken(one, len(ones)) for one in ones)),
        }
        for runtime, ones in found.items()
    ]


def _quantiles(one: Document) -> tuple[str, ...]:
    return (one["version"], *(f"{value:.3f}" for value in np.percentile(one["times_ms"], QUANTILES)))


def _taken(one: Document, versions: int) -> str:
    noise = f"; noisy: {one['noise']}" if one["noise"] else ""
    turn = ", versions in turn" if versions > 1 else ""
    return f"{timing(one['latency'])}{turn}; {one['machine']['cpu']}{noise}"


def _graph(graph: Document) -> dict[str, Any]:
    kinds = graph["kinds"]
    shown = kinds[: figures.SHOWN_KINDS]
    # The bundle's folder is another in every workspace.
    name = graph["name"].partition(" ")[2]
    figure = figures.bars([one["kind"] for one in shown], [one["ms"] for one in shown], "ms") if kinds else None
    return {**graph, "name": name, "figure": figure}


def _chart(version: str, chart: Document) -> dict[str, Any]:
    if chart["kind"] == "curve":
        rows = [(name, f"{x:.4g}", f"{y:.4g}") for name, line in chart["lines"].items() for x, y in line]
        headings = ("line", chart["x"], chart["y"])
        return {
            "version": version,
            "title": "curve",
            "figure": figures.curve(chart),
            "rows": rows,
            "headings": headings,
        }
    labels = chart["labels"]
    wrong = sorted((one for one in chart["counts"] if one[0] != one[1]), key=lambda one: -one[2])
    right = sum(count for truth, answer, count in chart["counts"] if truth == answer)
    total = sum(count for *_, count in chart["counts"])
    rows = [(_label(labels, truth), _label(labels, answer), str(count)) for truth, answer, count in wrong[:MISTAKES]]
    return {
        "version": version,
        "title": f"confusion matrix: {right:,} of {total:,} right",
        "figure": figures.confusion(chart),
        "rows": rows,
        "headings": ("true class", "answer", "samples"),
    }


def _label(labels: Sequence[str], place: int) -> str:
    return labels[place] if place < len(labels) else str(place)
