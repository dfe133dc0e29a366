"""Ship: runs, and files for other programs."""
