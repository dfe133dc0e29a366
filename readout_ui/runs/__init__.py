"""A training on disk: manifest, vectors and texts; exports and imports in every format."""
