"""Networks that act: one file a family of networks."""
