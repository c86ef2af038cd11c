"""Plan -> stages -> workspace: knows the order of the work and none of the work itself."""
