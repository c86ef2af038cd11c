"""Training: recipes, the loop, and what makes it fast on a CPU."""
