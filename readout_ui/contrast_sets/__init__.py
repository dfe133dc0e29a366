"""The contrast pairs that ship with the project: 40 for each type, written for it."""
