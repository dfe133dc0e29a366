"""Judging vectors: texts by other writers, cross-talk, layers, influence of texts, advice.

Results are numpy with `.to_frame()` for pandas; `public.Readout` has a method for each question.
"""
