"""What `verify` found as JUnit XML: a suite a bundle, a case a check, as CI systems read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from edge_kit.core.files import write_atomic

UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML cannot hold


def write_junit(path: Path, reports: list[dict[str, Any]], seconds: float) -> None:
    """Write one document for all bundles.

    Args:
        seconds: That verifying all of them took.
    """
    suites = [_suite(report) for report in reports]
    counts = {key: str(sum(int(suite.get(key, "0")) for suite in suites)) for key in ("tests", "failures", "skipped")}
    root = ElementTree.Element("testsuites", {"name": "edge-kit verify", **counts, "errors": "0", "time": _s(seconds)})
    root.extend(suites)
    ElementTree.indent(root)
    write_atomic(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _suite(report: dict[str, Any]) -> ElementTree.Element:
    checks = report["checks"]
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": _text(report["bundle"]),
            "tests": str(len(checks)),
            "failures": str(sum(one["ok"] is False for one in checks)),
            "errors": "0",
            "skipped": str(sum(one["ok"] is None for one in checks)),
            "time": _s(report.get("seconds", 0.0)),
        },
    )
    for one in checks:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": _text(Path(report["bundle"]).name), "name": _text(one["name"]), "time": "0"},
        )
        _outcome(case, one)
    return suite


def _outcome(case: ElementTree.Element, check: dict[str, Any]) -> None:
    told = _told(check)
    if check["ok"] is False:
        failure = ElementTree.SubElement(case, "failure", {"message": _text(told), "type": "CheckError"})
        failure.text = _text(told)
    elif check["ok"] is None:
        ElementTree.SubElement(case, "skipped", {"message": _text(told)})
    else:
        ElementTree.SubElement(case, "system-out").text = _text(told)


def _told(check: dict[str, Any]) -> str:
    """Value, limit and conditions on one line."""
    parts = []
    if check["value"] is not None:
        parts.append(f"{check['value']:.6g} {check['unit']}".strip())
    if check["limit"] is not None:
        parts.append(f"{'<=' if check['sense'] == 'max' else '>='} {check['limit']:.6g}")
    return f"{' '.join(parts)}; {check['note']}".strip("; ")


def _text(value: str) -> str:
    return UNPRINTABLE.sub("?", value)


def _s(seconds: float) -> str:
    return f"{seconds:.3f}"
