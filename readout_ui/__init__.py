"""Readout Studio: write descriptions, fit concept directions, read them out token by token."""

__version__ = "0.1.0"
