"""Concept readouts inside vLLM: loads an export of Readout Studio and scores every token.

`register` is what vLLM calls in each of its processes (entry point `vllm.general_plugins`). It does
nothing unless VLLM_READOUT_VECTORS names an export.
"""

from __future__ import annotations

from readout_vllm.settings import from_environment


def register() -> None:
    """Patch vLLM once in this process.

    Raises:
        ReadoutError: the export does not load, or this vLLM is not one that was tested.
    """
    settings = from_environment()
    if settings is None:
        return
    from readout_vllm import engine, frontend, installing, openai_answers, versions

    if not versions.claim():
        return
    versions.check()
    for part in (installing, engine, frontend, openai_answers):
        part.patch(settings)
