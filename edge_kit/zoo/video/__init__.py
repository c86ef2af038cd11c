"""Video: networks whose sample is a clip."""
