"""Read: what a text or an answer reads as."""
