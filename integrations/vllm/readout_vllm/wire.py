"""Rows on their way: packed by the engine, unpacked by the front end, merged, written as JSON.

Needs numpy only. A row is the scores of one token, `[n_layers][n_concepts]`, of the pass that
produced it: of the activations at the position before it. Rows of a request travel as logprobs do,
inside the output of the engine, so that aborts, preemption and several API servers need nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from readout_vllm.asks import Ask
from readout_vllm.export import Export

Array = NDArray[np.float32]
CARRIER = "_readout"
"""Key in `kv_transfer_params` of an engine output, which takes anything that msgpack takes."""


@dataclass(frozen=True)
class Rows:
    """What one pass gave for one request."""

    generated: Array | None = None
    """(n_tokens, n_layers, n_concepts)."""
    prompt: Array | None = None
    """(n_prompt - 1, n_layers, n_concepts): all prompt tokens but the last, which is the row of
    the first generated token."""


def pack(rows: Rows, n_tokens: int, fired: Sequence[tuple[int, int, float]] = ()) -> dict[str, Any]:
    """Rows as plain values and bytes.

    Args:
        rows: of one pass.
        n_tokens: how many tokens the request really got: an answer can end inside the accepted
            tokens of speculative decoding.
        fired: watched concepts over their threshold: (place of the concept, token of the pass, z).
    """
    packed: dict[str, Any] = {}
    if rows.generated is not None:
        packed["generated"] = _packed(rows.generated[:n_tokens])
    if rows.prompt is not None:
        packed["prompt"] = _packed(rows.prompt)
    if fired:
        packed["fired"] = [list(one) for one in fired]
    return packed


def _packed(rows: Array) -> list[Any]:
    return [list(rows.shape), np.ascontiguousarray(rows, dtype="<f4").tobytes()]


def _unpacked(packed: Sequence[Any]) -> Array:
    shape, raw = packed
    return np.frombuffer(raw, dtype="<f4").reshape(shape)


@dataclass
class Collected:
    """All rows of one answer so far, and which of them were handed out."""

    prompt: Array | None = None
    fired: list[dict[str, Any]] = field(default_factory=list)
    n_tokens: int = 0
    """How many generated tokens have rows."""
    sent: int = 0
    """Tokens whose rows left in an earlier chunk."""
    prompt_sent: bool = False
    _room: Array | None = None
    """(at least n_tokens, n_layers, n_concepts); twice as large whenever it is full, so that a
    long answer costs as much per token as a short one."""

    def add(self, packed: Mapping[str, Any], concepts: Sequence[str]) -> None:
        """Take what `pack` made. A prompt read again after preemption is the same prompt."""
        for concept, token, z in packed.get("fired", ()):
            self.fired.append(
                {"concept": concepts[concept], "token": self.n_tokens + token, "z": z}
            )
        if "generated" in packed:
            self._append(_unpacked(packed["generated"]))
        if "prompt" in packed and self.prompt is None:
            self.prompt = _unpacked(packed["prompt"])

    def _append(self, rows: Array) -> None:
        start, end = self.n_tokens, self.n_tokens + len(rows)
        if self._room is None or end > len(self._room):
            room = np.empty((max(2 * end, 32), *rows.shape[1:]), np.float32)
            if self._room is not None:
                room[:start] = self._room[:start]
            self._room = room
        self._room[start:end], self.n_tokens = rows, end

    def rows(self, start: int, end: int) -> Array | None:
        """(end - start, n_layers, n_concepts) of generated tokens, None if there are none."""
        return None if self._room is None else self._room[start : min(end, self.n_tokens)]

    def next_rows(self, n_tokens: int) -> Array | None:
        """Rows of the tokens since the last call, up to token `n_tokens` of the answer."""
        rows = self.rows(self.sent, n_tokens)
        self.sent = n_tokens
        return rows

    def next_prompt(self) -> Array | None:
        """The prompt's rows, once."""
        rows = None if self.prompt_sent else self.prompt
        self.prompt_sent = self.prompt_sent or rows is not None
        return rows


def merged(first: Array | None, second: Array | None) -> Array | None:
    """Rows of two outputs of one answer that the consumer took as one."""
    if first is None or second is None:
        return second if first is None else first
    return np.concatenate([first, second])


def answer_fields(
    export: Export, ask: Ask, generated: Array | None, prompt: Array | None
) -> dict[str, Any]:
    """What a choice of a chunk or of a whole answer carries beside its text.

    Returns:
        `readout`, one `[n_layers][n_concepts]` per generated token; `readout_prompt`, the same per
        prompt token; with `readout_z` and `readout_prompt_z` where the request asked for z.
    """
    fields: dict[str, Any] = {}
    for name, rows in (("readout", generated), ("readout_prompt", prompt)):
        wanted = ask.rows if name == "readout" else ask.prompt
        if rows is None or not wanted:
            continue
        fields[name] = rows.tolist()
        if ask.z:
            fields[f"{name}_z"] = export.z_scores(rows).tolist()
    return fields


def summary_fields(
    export: Export, ask: Ask, generated: Array | None, fired: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What the last chunk carries: aggregates over the answer, top concepts, what fired."""
    fields: dict[str, Any] = {}
    if generated is not None and len(generated):
        if ask.summary:
            fields["readout_summary"] = _summary(export, ask, generated)
        if ask.top:
            fields["readout_top"] = top_concepts(export, generated, ask.top)
    if ask.watch:
        fields["readout_fired"] = list(fired)
    return fields


def _summary(export: Export, ask: Ask, generated: Array) -> dict[str, Any]:
    rows = export.z_scores(generated) if ask.z else generated
    made = {"mean": rows.mean(axis=0), "max": rows.max(axis=0), "last": rows[-1]}
    return {name: made[name].tolist() for name in ask.summary}


def top_concepts(export: Export, generated: Array, n: int) -> list[dict[str, Any]]:
    """The concepts with the highest mean at the export's best layer, highest first."""
    layer = export.best_layer
    calibrated = export.neutral_mean is not None
    rows = export.z_scores(generated) if calibrated else generated
    means = rows[:, layer].mean(axis=0)  # (n_concepts,)
    unit = "z" if calibrated else "raw"
    return [
        {"concept": export.concepts[i], "layer": export.layers[layer], unit: float(means[i])}
        for i in np.argsort(-means, kind="stable")[:n]
    ]


def firing(export: Export, ask: Ask, generated: Array) -> list[tuple[int, int, float]]:
    """Watched concepts over their threshold at the best layer, each at its first token.

    Returns:
        (place of the concept, token of the pass, z), in the order of the tokens.
    """
    layer = export.best_layer
    z = export.z_scores(generated)[:, layer]  # (n_tokens, n_concepts)
    over = z > ask.threshold
    found = []
    for place in np.flatnonzero(over.any(axis=0)).tolist():
        if export.concepts[place] in ask.watch:
            token = int(over[:, place].argmax())
            found.append((place, token, float(z[token, place])))
    return sorted(found, key=lambda one: one[1])
