"""Makers of mini sets: small, real material from packages, in the very format of the published set."""
