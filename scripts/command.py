"""A script as a command: an error of ours is one line and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from edge_kit.core.errors import EdgeKitError


def run_command(name: str, main: Callable[..., None]) -> None:
    """Run `main` on the command line's arguments.

    Args:
        name: As the user calls the script.
    """
    app = typer.Typer(add_completion=False)
    app.command()(main)
    try:
        app()
    except EdgeKitError as fault:
        print(f"{name}: {fault}", file=sys.stderr)
        sys.exit(fault.exit_code)
