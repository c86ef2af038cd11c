"""`edge-kit reproduce`."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_kit.cli.options import DataOption, JsonOption, WorkspaceOption, make_runner, print_json
from edge_kit.core.errors import CheckError


def reproduce(
    bundle: Annotated[str, typer.Argument(help="Name or folder.")],
    data: DataOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
) -> None:
    """Run again what a bundle's receipt claims.

    Each claim holds, differs, or cannot be checked here.
    """
    from dataclasses import asdict

    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.bundles import find_bundles
    from edge_kit.pipeline.reproduce import DIFFERS
    from edge_kit.pipeline.reproduce import reproduce as run_reproduce
    from edge_kit.report.progress import ConsoleReporter
    from edge_kit.report.reproduce import print_claims

    [found] = find_bundles(Workspace.open(workspace), [bundle])
    with ConsoleReporter() as reporter:
        claims = run_reproduce(found, data, make_runner(workspace, "reproduce", reporter), reporter)
    if json:
        print_json({"bundle": str(found.path), "claims": [asdict(claim) for claim in claims]})
    else:
        print_claims(str(found.path), claims)
    short = [f"{claim.name} ({claim.note})" for claim in claims if claim.outcome == DIFFERS]
    if short:
        raise CheckError(f"{len(short)} claim(s) differ: {'; '.join(short)}")
