"""The logit lens finds the token whose unembedding a direction is, through the final norm."""

from pathlib import Path
from typing import Any

import pytest
import torch

from readout_ui.evaluation.logit_lens import RANDOM, direction_logits, logit_lens
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.models.tokens import visible_tokens
from readout_ui.vectors.vectors import ConceptVectors
from tests.support.architectures import build


def test_a_direction_raises_the_token_it_unembeds_to(tiny_folder: Path) -> None:
    model = load_model(ModelSpec(str(tiny_folder), device="cpu"))
    lm: Any = model.model
    norm, head = lm.model.norm.weight, lm.get_output_embeddings().weight
    token = 40
    own = torch.nn.functional.normalize((head[token] / norm).detach().float(), dim=0)
    directions = torch.stack([own, -own])[:, None]
    vectors = ConceptVectors(
        ("meant", "opposite"),
        (1,),
        directions,
        torch.zeros(1, model.d_model),
        torch.zeros(2, 1),
        torch.ones(2, 1),
    )
    meant, opposite, random = logit_lens(model, vectors, 1, n=3)
    (written,) = visible_tokens(model.tokenizer, [token])
    assert meant.raised[0] == opposite.lowered[0] == written
    assert meant.highest == pytest.approx(-opposite.lowest, abs=1e-3)
    assert random.concept == RANDOM
    assert len(random.raised) == len(random.lowered) == 3


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "phi", "opt"])
def test_every_kind_of_final_norm_is_found_and_its_bias_is_nobodys_doing(name: str) -> None:
    model = build(name)
    with torch.no_grad():
        for part, values in model.named_parameters():
            if part.endswith("norm.bias") or part.endswith("ln_f.bias"):
                values.fill_(3.0)
    direction = torch.nn.functional.normalize(torch.randn(1, 32), dim=1)
    logits = direction_logits(model, torch.cat([direction, -direction]))
    torch.testing.assert_close(logits[0], -logits[1], atol=1e-4, rtol=1e-3)
    assert logits.shape[0] == 2
    assert logits[0].std() > 0
