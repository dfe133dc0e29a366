"""Answers while they grow: several prompts side by side, and what is read of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import transformers

from readout_ui.decoding import (
    decoding_config,
    end_tokens,
    pad_token,
    room_for_answer,
    special_tokens,
)
from readout_ui.frames import FramedChat, TokenRole, visible_tokens
from readout_ui.growth import Growth
from readout_ui.projecting import Projector
from readout_ui.sampling import Sampling
from readout_ui.scoring import Scorer

if TYPE_CHECKING:
    from readout_ui.models import LoadedModel
    from readout_ui.readout import Readout
    from readout_ui.vectors import ConceptVectors


class Live:
    """A generation under way; use it inside `on_text` only, on the thread that generates.

    Nothing is worked out or moved from the device before it is asked for.
    """

    def __init__(self, answers: Answers, row: int) -> None:
        self._answers, self._row = answers, row

    @property
    def n_tokens(self) -> int:
        """How many new tokens there are."""
        return len(self._answers.growth.rows[self._row])

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The new tokens."""
        return tuple(self._answers.growth.rows[self._row])

    @property
    def text(self) -> str:
        """The new tokens as text, without special tokens and without half a character."""
        return self._answers.text(self._row).rstrip("\ufffd")

    def readout(self, start: int = 0) -> Readout | None:
        """Scores from position `start` on, the prompt's first token being 0.

        The newest token has none yet: its activations come with the pass that it is fed to.
        """
        return self._answers.readout(self._row, start)


class Answers:
    """The texts of one call: prompts, padding, what was added and what was read."""

    def __init__(
        self,
        model: LoadedModel,
        prompts: Sequence[FramedChat],
        sampling: Sampling,
        vectors: ConceptVectors | None,
        on_text: Callable[[Sequence[Live]], None] | None,
        stop: Callable[[], bool],
    ) -> None:
        self.model, self.prompts = model, tuple(prompts)
        self.longest = max(len(prompt.token_ids) for prompt in prompts)
        self.limit, self.note = room_for_answer(model, self.longest, sampling.max_new_tokens)
        self.projector: Projector | None = None
        if vectors is not None:
            self.projector = Projector(vectors, model.device, len(prompts))
            self._scorer = Scorer(vectors)
        self._special = special_tokens(model)
        live = [Live(self, row) for row in range(len(prompts))]
        self.growth = Growth(
            len(prompts),
            self.limit,
            end_tokens(model),
            stop,
            extra_pass=vectors is not None,
            on_token=(lambda: on_text(live)) if on_text else (lambda: None),
        )

    def grow(self, sampling: Sampling) -> None:
        """Run transformers' `generate` until every row has ended."""
        ids, mask = self._padded()
        generate_text: Any = self.model.model.generate
        # transformers 4 would replace what equals its defaults by the checkpoint's own values; it
        # refuses an argument that it does not know.
        own = transformers.__version__.startswith("4.")
        generate_text(
            input_ids=ids,
            attention_mask=mask,
            generation_config=decoding_config(self.model, sampling, self.limit + 1),
            stopping_criteria=[self.growth],
            **({"use_model_defaults": False} if own else {}),
        )

    def text(self, row: int) -> str:
        """The new tokens of a row as text."""
        ids = self.growth.rows[row]
        return str(self.model.tokenizer.decode(ids, skip_special_tokens=True))

    def readout(self, row: int, start: int = 0) -> Readout | None:
        """Scores of a row's tokens from `start` on, as far as they were fed."""
        if self.projector is None:
            return None
        prompt, new = self.prompts[row], self.growth.rows[row]
        padding = self.longest - len(prompt.token_ids)
        stop = self.longest + len(new)
        read = self.projector.projections(row, padding + start, stop)
        ids = (*prompt.token_ids, *new)[start : start + read.n_tokens]
        roles = (*prompt.roles, *self.roles(row))[start : start + read.n_tokens]
        return self._scorer.readout(
            read,
            tokens=visible_tokens(self.model.tokenizer, ids),
            roles=[str(role) for role in roles],
            start=start,
        )

    def roles(self, row: int) -> tuple[TokenRole, ...]:
        """Of each new token: the assistant's, or template for special tokens."""
        special = self._special
        return tuple(
            TokenRole.TEMPLATE if token in special else TokenRole.ASSISTANT
            for token in self.growth.rows[row]
        )

    def _padded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask, (n_rows, longest)."""
        pad, lengths = pad_token(self.model), [len(prompt.token_ids) for prompt in self.prompts]
        ids = [
            [pad] * (self.longest - length) + list(prompt.token_ids)
            for prompt, length in zip(self.prompts, lengths, strict=True)
        ]
        mask = [[0] * (self.longest - length) + [1] * length for length in lengths]
        device = self.model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
