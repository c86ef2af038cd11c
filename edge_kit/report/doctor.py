"""What `doctor` found, as a table."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from edge_kit.report.console import open_console
from edge_kit.report.tables import MARK


def print_findings(findings: list[dict[str, Any]]) -> None:
    """A row a finding."""
    table = Table(show_header=False)
    for finding in findings:
        table.add_row(MARK[finding["ok"]], finding["name"], finding["detail"])
    open_console().print(table)
