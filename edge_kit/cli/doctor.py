"""`edge-kit doctor`."""

from __future__ import annotations

from edge_kit.cli.options import JsonOption, WorkspaceOption, print_json
from edge_kit.core.errors import CheckError, EdgeKitError


def doctor(workspace: WorkspaceOption = None, json: JsonOption = False) -> None:
    """Look for what is wrong with this installation.

    Versions, engines, the processor, and pairs that are known to be bad.
    """
    from edge_kit.core.workspace import Workspace
    from edge_kit.pipeline.doctor import examine
    from edge_kit.report.doctor import print_findings
    from edge_kit.report.progress import working

    try:
        opened, fault = Workspace.open(workspace), ""
    except EdgeKitError as error:
        opened, fault = None, str(error)
    with working("importing every engine in a fresh process"):
        findings = examine(opened, fault)
    print_json(findings) if json else print_findings(findings)
    wrong = [finding["name"] for finding in findings if finding["ok"] is False]
    if wrong:
        raise CheckError(f"{len(wrong)} thing(s) to mend: {', '.join(wrong)}")
