"""edge-kit: from a full-precision Paddle model to a proved INT8 bundle."""

from edge_kit.core.environment import set_engine_defaults

__version__ = "0.1.0"

# The engines read these variables once, when first imported: this must run before anything else of ours does.
set_engine_defaults()
