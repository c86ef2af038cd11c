"""Language: one file a family of networks."""
