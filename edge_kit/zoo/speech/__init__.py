"""Speech: one file a family of networks."""
