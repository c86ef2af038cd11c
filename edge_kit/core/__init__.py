"""Ground floor: what every other room stands on. Needs NumPy and nothing else."""
