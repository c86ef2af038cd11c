"""The bundles of a workspace, by name: links into the store, swapped in one step."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edge_kit.core.bundle import MANIFEST, Bundle
from edge_kit.core.errors import UsageError, unknown_name
from edge_kit.core.workspace import Workspace

BUNDLE = "bundle"
"""The stage that makes them, and the folder of its result that is one."""


def publish_bundle(workspace: Workspace, name: str, made: Path) -> Path:
    """Let the bundle of that name be the one just made; a reader sees the old one or the new one."""
    place = workspace.bundles_dir / name
    with tempfile.TemporaryDirectory(dir=workspace.bundles_dir, prefix=".") as folder:
        link = Path(folder) / name
        link.symlink_to(os.path.relpath(made, workspace.bundles_dir))
        link.replace(place)
    return place


def was_made_in(workspace: Workspace, bundle: Bundle) -> bool:
    """Whether the workspace still holds the stage that made it, or a copy of it, whatever its name means by now."""
    made = (result.path / BUNDLE for result in workspace.results(BUNDLE))
    return any(Bundle(path).digest == bundle.digest for path in made)


def all_bundles(workspace: Workspace) -> list[Bundle]:
    """Every bundle of the workspace, by name."""
    folders = sorted(workspace.bundles_dir.iterdir())
    return [Bundle(folder) for folder in folders if (folder / MANIFEST).is_file()]


def find_bundles(workspace: Workspace, names: list[str]) -> list[Bundle]:
    """The named bundles, each a folder or a name in the workspace; all of the workspace's where none is named.

    Raises:
        UsageError: There is no such bundle, or none at all.
    """
    if not names:
        found = all_bundles(workspace)
        if not found:
            raise UsageError(f"no bundle in {str(workspace.root)!r} yet; make one: edge-kit compress mobilenetv2")
        return found
    return [_find(workspace, name) for name in names]


def _find(workspace: Workspace, name: str) -> Bundle:
    for folder in (Path(name), workspace.bundles_dir / name):
        if (folder / MANIFEST).is_file():
            return Bundle(folder)
    raise unknown_name("bundle", name, [bundle.path.name for bundle in all_bundles(workspace)])
