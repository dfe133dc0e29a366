"""Numbers and labels to figures and HTML; no model, no torch."""
