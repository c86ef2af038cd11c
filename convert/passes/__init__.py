"""Graph rewrites: each a small function that changes one thing and says how often it did."""
