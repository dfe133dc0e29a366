"""Texts people bring: descriptions, pairs, stories, examples, memories, tables; no torch."""
