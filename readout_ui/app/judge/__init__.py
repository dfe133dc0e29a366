"""Judge: how good the vectors are."""
