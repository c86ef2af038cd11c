"""Object detection: one file a family of networks."""
