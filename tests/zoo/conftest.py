"""Runs before the test files, whose first import is Paddle."""

import edge_kit  # noqa: F401  # sets what Paddle reads on its first import
