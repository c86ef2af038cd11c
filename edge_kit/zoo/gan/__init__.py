"""Networks that make pictures: one file a family of networks."""
