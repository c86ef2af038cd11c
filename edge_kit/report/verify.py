"""What `verify` found, as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from edge_kit.core.records import Check
from edge_kit.report.tables import print_checks


def print_verified(reports: list[dict[str, Any]]) -> None:
    """A table of checks a bundle."""
    console = Console()
    for report in reports:
        console.print(f"{report['bundle']}  {report['digest']}", highlight=False, soft_wrap=True)
        print_checks(console, [Check(**check) for check in report["checks"]])
