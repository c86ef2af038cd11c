"""The model zoo: one file a family; importing this package fills the registry."""

import importlib
import pkgutil
from importlib.metadata import entry_points

from edge_kit.zoo.entry import MODELS, Reference, Setup, ZooEntry, register

GROUP = "edge_kit.models"  # an entry point names a module that registers models when imported

__all__ = ["MODELS", "Reference", "Setup", "ZooEntry", "load_all", "register"]


def load_all() -> None:
    """Fill the registry: every model file below this package, and what other distributions declare."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    for point in entry_points(group=GROUP):
        point.load()
