"""Moving pictures through a model: sources, a pipeline on threads, overlay, sinks; `demos/` stands on it."""
