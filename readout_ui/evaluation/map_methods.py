"""How the map of directions can be drawn: always by PCA, by UMAP where umap-learn is installed."""

from __future__ import annotations

from importlib.util import find_spec

MAP_METHODS = ("pca", "umap")
LEAST_FOR_UMAP = 4
"""Concepts below which there are no neighbourhoods to keep."""


def umap_installed() -> bool:
    """True when the optional package umap-learn is there; it is not imported for that."""
    return find_spec("umap") is not None
