"""The train step as a pure function: losses, objective, optimisers, and how devices share it."""
