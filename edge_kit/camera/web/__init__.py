"""The page that `edge-kit demo --web` serves; needs the `web` extra."""
