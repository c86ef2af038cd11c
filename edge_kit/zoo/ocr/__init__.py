"""Networks that read lines of text."""
