"""Activations in, concept vectors out: methods, calibration, cross-validation, training."""
