"""The start that all framed texts share, computed once and kept as keys and values."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from readout_ui.activations.batches import Feed, pad_batch
from readout_ui.activations.capture import StartedBatch, start_batch
from readout_ui.activations.hooks import inference
from readout_ui.activations.pooling import CONTENT_RULES
from readout_ui.errors import UserError
from readout_ui.models.blocks import bare_model, config_values
from readout_ui.models.calling import returned_cache
from readout_ui.models.devices import is_out_of_memory
from readout_ui.models.prompt import FramedText, shared_prefix_length
from readout_ui.models.trial import turning_points

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths
    from readout_ui.models.loading import LoadedModel

MIN_SAVED_TOKENS = 192
"""Fewer repeated tokens are not worth a check and a forward pass of their own."""
PROBE_TOKENS = 4
_CANNOT_GO_ON = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, UserError)
"""What a model without a usable cache raises; every text is then read whole, and a note says so."""
TOLERANCE = 1e-4
"""Largest relative difference between both ways in float32; measured 1e-6."""
LOW_PRECISION_STEPS = 8
"""The same bound in half precision, in units of its rounding step. On SmolLM2-135M, over tokens and
layers, both right ways differed by at most 7 steps in bfloat16 and 10 in float16 (0 on the few
tokens checked); one wrong token of 37 in the prefix made 7-109 and 45-880, a lost state 150."""


@dataclass(frozen=True, eq=False)
class SharedPrefix:
    """A start of framed texts and, where that was shown to be right, its keys and values."""

    token_ids: tuple[int, ...]
    """The shared tokens."""
    states: Any
    """The model's own cache after these tokens, for one text; None where it cannot be used."""
    longest: float
    """Up to how many tokens in all this was shown to hold."""
    note: str = ""
    """Why it cannot be used."""

    @property
    def n_tokens(self) -> int:
        """How many tokens need not be fed."""
        return 0 if self.states is None else len(self.token_ids)

    def fits(self, framed: Sequence[FramedText]) -> bool:
        """Whether it is a shared start of these texts and holds for their length."""
        size = len(self.token_ids)
        return all(
            text.content_start >= size
            and text.token_ids[:size] == self.token_ids
            and len(text.token_ids) <= self.longest
            for text in framed
        )

    def repeated(self, n_texts: int, device: torch.device) -> Any:
        """The states once more for `n_texts` texts; a forward pass uses them up."""
        if not is_usual(self.states):
            states = copy.deepcopy(self.states)
            # What beam search uses is the one way that every kind of cache has to choose rows.
            states.reorder_cache(torch.zeros(n_texts, dtype=torch.long, device=device))
            return states
        states = copy.copy(self.states)
        states.layers = [copy.copy(layer) for layer in states.layers]
        for layer in filter(lambda layer: layer.get_seq_length(), states.layers):
            # It joins what comes to them in new memory.
            layer.keys = layer.keys.expand(n_texts, -1, -1, -1)
            layer.values = layer.values.expand(n_texts, -1, -1, -1)
        return states


def is_usual(states: Any) -> bool:
    """Whether a cache is nothing but keys and values that grow by every token."""
    layers = getattr(states, "layers", [])
    return bool(layers) and all(type(layer).__name__ == "DynamicLayer" for layer in layers)


NO_PREFIX = SharedPrefix((), None, 0)
_REMEMBERED: "WeakKeyDictionary[LoadedModel, SharedPrefix]" = WeakKeyDictionary()


def find_prefix(
    model: "LoadedModel",
    paths: "BlockPaths",
    framed: Sequence[FramedText],
    begin: Callable[[SharedPrefix], object] = lambda _prefix: None,
) -> SharedPrefix:
    """The prefix to use for these texts: a remembered one, a new one that was checked, or none.

    The last prefix of a model is remembered, so a retrain with one new text feeds only its content.

    Args:
        model: the model.
        paths: the modules that are read.
        framed: the texts.
        begin: starts with a prefix before it is checked, so that a GPU has something to do.
    """
    known = _REMEMBERED.get(model)
    if known is not None and known.fits(framed):
        return known
    size = shared_prefix_length(framed)
    checkable = max(len(text.token_ids) for text in framed) >= size + 2
    if size * (len(framed) - 1) < MIN_SAVED_TOKENS or not checkable:
        return NO_PREFIX
    prefix = _checked_prefix(model, paths, framed, size, begin)
    _REMEMBERED[model] = prefix
    return prefix


def forget_prefix(model: "LoadedModel") -> None:
    """Gives the memory of a model's remembered prefix back."""
    _REMEMBERED.pop(model, None)


def tolerance(dtype: torch.dtype) -> float:
    """Largest relative difference that counts as equal."""
    precision = torch.finfo(dtype)
    return TOLERANCE if precision.bits >= 32 else LOW_PRECISION_STEPS * precision.eps


def _checked_prefix(
    model: "LoadedModel",
    paths: "BlockPaths",
    framed: Sequence[FramedText],
    size: int,
    begin: Callable[[SharedPrefix], object],
) -> SharedPrefix:
    ids = framed[0].token_ids[:size]
    probe, longest = _find_probe(model, framed, size)
    reason = ""
    # The check itself computes the prefix; where that cannot be cut out, it is computed alone.
    for make_states in (_cut_states, _states_alone):
        try:
            plain = _read_probe(model, paths, probe)
            prefix = SharedPrefix(ids, make_states(model, probe, plain), longest)
            begin(prefix)
            difference = _difference(model, paths, prefix, probe, plain)
        except _CANNOT_GO_ON as error:
            if is_out_of_memory(error):  # says nothing about the model, so it must not last
                return SharedPrefix(ids, None, 0, _note("memory ran out while computing it"))
            reason = f"the model cannot go on from it ({type(error).__name__}: {error})"
            continue
        if difference <= tolerance(model.dtype):
            return prefix
        reason = f"activations would differ by {difference:.1g}"
    return SharedPrefix(ids, None, longest, _note(reason))


def _note(reason: str) -> str:
    return f"The shared start of the texts is computed anew for each of them: {reason}."


def _find_probe(
    model: "LoadedModel", framed: Sequence[FramedText], size: int
) -> tuple[FramedText, float]:
    """Tokens to check with, and up to which length the result holds.

    A few tokens are enough, unless the longest text reaches past a length at which the model
    begins to compute differently: then it has to be that text. Their number is even.
    """
    longest = max(framed, key=lambda text: len(text.token_ids)).token_ids
    bounds = lengths_that_change(model)
    holds = min(bounds, default=math.inf)
    if holds < len(longest):
        return _framed(longest[: len(longest) - (len(longest) - size) % 2], size), math.inf
    n_probed = min(PROBE_TOKENS, (len(longest) - size) // 2 * 2)
    return _framed(longest[: size + n_probed], size), holds


_ROPE_LENGTH = "original_max_position_embeddings"


def lengths_that_change(model: "LoadedModel") -> list[int]:
    """Numbers of tokens beyond which the model computes differently."""

    # Most architectures have none of these. transformers 4 says rope_scaling where 5 has
    # rope_parameters, which may differ by kind of layer.
    ropes = _values(model, "rope_parameters", "rope_scaling")
    ropes += [rope for given in ropes for rope in given.values() if isinstance(rope, dict)]
    found = _values(model, _ROPE_LENGTH)
    found += [rope.get(_ROPE_LENGTH) for rope in ropes]
    stated = [value for value in found if isinstance(value, int) and value > 0]
    return [*turning_points(model.model), *stated]


def _values(model: "LoadedModel", *names: str) -> list[Any]:
    return [value for name in names for value in config_values(model.model, name)]


def _cut_states(_model: "LoadedModel", probe: FramedText, plain: StartedBatch) -> Any:
    plain.states.crop(probe.content_start - len(probe.token_ids))
    return plain.states


def _states_alone(model: "LoadedModel", probe: FramedText, _plain: StartedBatch) -> Any:
    tokens = torch.tensor([probe.token_ids[: probe.content_start]], device=model.device)
    with inference(model.model):
        output = bare_model(model.model)(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=True
        )
    return returned_cache(output)


def _read_probe(model: "LoadedModel", paths: "BlockPaths", probe: FramedText) -> StartedBatch:
    """The probe in the plain way, some of its tokens kept."""
    alone = pad_batch([Feed(probe, 0, CONTENT_RULES, _n_kept(probe))], model.device)
    return start_batch(model, paths, alone, keep_states=True)


def _n_kept(probe: FramedText) -> int:
    return min(PROBE_TOKENS, len(probe.token_ids) - probe.content_start)


def _difference(
    model: "LoadedModel",
    paths: "BlockPaths",
    prefix: SharedPrefix,
    probe: FramedText,
    plain: StartedBatch,
) -> float:
    """Largest relative difference of any token and layer from `plain`.

    The probe and its first half go together, so that repeating and padding are checked too. Both
    numbers being even, the tokens kept of the half are the first of those kept of the whole.
    """
    size, n_kept = probe.content_start, _n_kept(probe)
    half = _framed(probe.token_ids[: size + (len(probe.token_ids) - size) // 2], size)
    together = [
        Feed(probe, size, CONTENT_RULES, n_kept),
        Feed(half, size, CONTENT_RULES, n_kept // 2),
    ]
    batch = pad_batch(together, model.device)
    started = start_batch(model, paths, batch, prefix.repeated(2, model.device))
    kept, shared = plain.finish().kept, started.finish().kept
    expected = torch.cat([kept, kept[: n_kept // 2]])  # (n_kept * 3 / 2, n_layers, d_model)
    scale = expected.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return float(((shared - expected).norm(dim=-1) / scale).max())


def _framed(token_ids: tuple[int, ...], content_start: int) -> FramedText:
    return FramedText("", token_ids, content_start, len(token_ids), truncated=False)
