"""Texts that people bring: descriptions, contrast pairs, stories, examples and memories; no torch.

What a notebook uses, and where it is:

- `library.Library(folder)` or `Library({"calm": [...], "_neutral": [...]})`: descriptions by
  concept; `library.Concept(name, descriptions)` is one of them.
- `sources.pairs(...)`, `sources.stories(...)`, `sources.examples(...)`: a path, lists, dicts or a
  pandas frame become a `sources.Source`, with `.concepts`, `.content`, `.neutral`, `.warnings()`.
- `sources.neutral_texts(...)`: texts without any concept, from a file, a folder or a list.
- `lint.check_library(library)` and `lint_sources.check_pairs(pairs)`: `lint.Finding`s.

`Library` and `Source` are what training takes.
"""
