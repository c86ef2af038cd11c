"""Tasks: one file each; importing this package fills the registry."""

import importlib
import pkgutil

from edge_kit.tasks.task import TASKS, Task

__all__ = ["TASKS", "Task"]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
