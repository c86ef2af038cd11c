"""Readers of published on-disk formats: one file each; importing this package fills the registry."""

import importlib
import pkgutil

from edge_kit.data.dataset import FORMATS, DataFormat, Dataset, MiniSettings, OpenOptions

__all__ = ["FORMATS", "DataFormat", "Dataset", "MiniSettings", "OpenOptions"]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
