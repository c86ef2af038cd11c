"""What `reproduce` found, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from edge_kit.pipeline.reproduce import DIFFERS, HOLDS, UNCHECKED, Claim
from edge_kit.report.console import open_console

STYLES = {HOLDS: "green", DIFFERS: "red", UNCHECKED: "dim"}
DIGITS = 12  # of a digest, as shown


def print_claims(bundle: str, claims: Sequence[Claim]) -> None:
    """A row a claim."""
    console = open_console()
    table = Table(title=f"claims of {bundle}")
    for column in ("", "claim", "claimed", "here", "by how much, or why not"):
        table.add_column(column, justify="right" if column in ("claimed", "here") else "left")
    for claim in claims:
        mark = f"[{STYLES[claim.outcome]}]{claim.outcome}[/]"
        table.add_row(mark, claim.name, _shown(claim.claimed), _shown(claim.found), claim.note)
    console.print(table)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:DIGITS]
