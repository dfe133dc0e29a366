"""Texts in, pooled residual-stream activations out; the only forward hooks of a training."""
