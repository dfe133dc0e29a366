"""Judging vectors: generalization, cross-talk, layers, influence, advice; numpy results."""
