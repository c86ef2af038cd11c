"""Makes networks smaller: pruned, quantized, distilled."""

import edge_kit.core.environment  # noqa: F401  # before Paddle, which every room in here imports
