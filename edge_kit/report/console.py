"""Where tables for people go."""

from __future__ import annotations

import os
import sys

from rich.console import Console

WIDEST = 1000  # columns; no table of ours needs as many


def open_console() -> Console:
    """Standard output, as wide as the terminal; into a pipe or a file no row is wrapped and no name cut short.

    COLUMNS in the environment counts everywhere.
    """
    uncut = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=WIDEST if uncut else None)
