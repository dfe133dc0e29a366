"""Logit lens of a direction: which tokens it raises and lowers most, beside a random direction.

The direction goes through the final norm and the unembedding as an activation of the last layer
would. At layers before the last that is an approximation; where a direction raises no token further
than a random one does, the lens says nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from readout_ui.errors import UserError
from readout_ui.evaluation.results import Rows
from readout_ui.models.devices import Shortage, not_finite, within_memory
from readout_ui.models.tokens import visible_tokens
from readout_ui.models.weights import held_weight
from readout_ui.vectors.metrics import random_directions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.vectors import ConceptVectors

N_TOKENS = 10
AT_ONCE = 32
"""Directions whose logits are on the device together; a vocabulary has up to 260,000 columns."""
RANDOM = "random direction"
"""Stands where a concept's name would."""


@dataclass(frozen=True)
class LensTokens:
    """What one direction does to the logits."""

    concept: str
    """Its name; `RANDOM` for a direction of no meaning."""
    raised: tuple[str, ...]
    """The tokens it raises most, strongest first."""
    lowered: tuple[str, ...]
    """The tokens it lowers most, strongest first."""
    highest: float
    """How far it raises the first, in standard deviations over the vocabulary."""
    lowest: float
    """The same of the first it lowers, below 0."""


def logit_lens(
    model: LoadedModel, vectors: ConceptVectors, layer: int, n: int = N_TOKENS, seed: int = 0
) -> Rows[LensTokens]:
    """Tokens of every concept's direction at a layer; the last row is a random direction.

    Args:
        model: the model the vectors belong to.
        vectors: of some layers.
        layer: one of them.
        n: tokens on each side.
        seed: of the random direction.

    Raises:
        UserError: the vectors have no such layer, the model no final norm or unembedding, there is
            no memory for the logits, or they are not finite.
    """
    own = vectors.select(layers=[layer]).directions[:, 0]
    random = random_directions(1, 1, own.shape[1], seed)[:, 0]
    directions = torch.cat([own.float(), random])
    logits = within_memory(partial(direction_logits, model.model, directions))
    if isinstance(logits, Shortage):
        what, lower = f"the logits of {AT_ONCE} directions", "wait until less is running"
        raise logits.error(model.device, what, model.name, lower)
    if not logits.sum().isfinite():
        raise not_finite(model.dtype, model.device)
    logits = (logits - logits.mean(dim=1, keepdim=True)) / logits.std(dim=1, keepdim=True)
    high, low = logits.topk(n, dim=1), logits.topk(n, dim=1, largest=False)

    def tokens(row: Tensor) -> tuple[str, ...]:
        return visible_tokens(model.tokenizer, row.tolist())

    return Rows(
        LensTokens(
            concept=concept,
            raised=tokens(high.indices[i]),
            lowered=tokens(low.indices[i]),
            highest=float(np.nan_to_num(high.values[i, 0].item())),
            lowest=float(np.nan_to_num(low.values[i, 0].item())),
        )
        for i, concept in enumerate((*vectors.concepts, RANDOM))
    )


def direction_logits(model: nn.Module, directions: Tensor) -> Tensor:
    """What directions (n, d_model) add to the logits, (n, n_vocabulary), up to a factor.

    Raises:
        UserError: the model has no final norm or no unembedding.
    """
    norm, head = _final_norm(model), _unembedding(model)
    weight = norm.weight if isinstance(norm.weight, torch.Tensor) else head
    # accelerate takes what is on the CPU to weights that it has yet to fetch.
    home = torch.device("cpu") if weight.is_meta else weight.device
    parts = []
    with torch.inference_mode():
        for some in torch.split(directions, AT_ONCE):
            at = some.to(home, weight.dtype)
            # A norm with a bias gives something for nothing, which is no direction's doing.
            normed = norm(at) - norm(torch.zeros_like(at))
            parts.append((normed.to(head.device, head.dtype) @ head.T).cpu().float())
    return torch.cat(parts)


def _final_norm(model: nn.Module) -> Any:
    from readout_ui.models.blocks import resolve_blocks

    first = resolve_blocks(model).names[0]  # e.g. model.layers.0
    home = model.get_submodule(first.rpartition(".")[0].rpartition(".")[0])
    norms = [child for name, child in home.named_children() if _is_norm(name, child)]
    if not norms:
        raise UserError("the model has no final norm, so there is no logit lens")
    return norms[-1]


def _is_norm(name: str, module: nn.Module) -> bool:
    named = "norm" in type(module).__name__.casefold() or name in ("norm", "ln_f")
    return named and "emb" not in name and isinstance(getattr(module, "weight", None), torch.Tensor)


def _unembedding(model: nn.Module) -> Tensor:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    weight = getattr(head, "weight", None)
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        raise UserError(
            "the model's unembedding is not there as plain numbers, so there is no logit lens",
            fix="load the model without quantization",
        )
    name = next((name for name, each in model.named_parameters() if each is weight), "")
    return held_weight(model, name, weight).detach()
