"""A model with a run: read a text, generate, steer, sweep, compare, search, serve."""
