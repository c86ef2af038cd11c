"""Camera apps, each a short file over `edge_kit.camera`."""
