"""`edge-kit verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import JsonOption, WorkspaceOption, print_json
from edge_kit.core.errors import CheckError


def verify(
    bundles: Annotated[list[str] | None, typer.Argument(help="Names or folders.", show_default="every bundle")] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Check bundles: no file changed, every recorded check held, graphs load and answer."""
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bundles import find_bundles
    from edge_kit.pipeline.verify import verify_bundle
    from edge_kit.report.verify import print_verified

    found = find_bundles(Workspace.open(workspace), bundles or [])
    reports = [verify_bundle(bundle) for bundle in found]
    print_json(reports) if json else print_verified(reports)
    short = [f"{r['bundle']}: {c['name']} ({c['note']})" for r in reports for c in r["checks"] if c["ok"] is False]
    if short:
        raise CheckError(f"{len(short)} check(s) fell short: {'; '.join(short)}")
