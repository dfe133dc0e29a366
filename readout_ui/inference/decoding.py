"""Answers while they grow: several prompts side by side, which tokens are new and which rows ended
and why, what is read of each, and what transformers' `generate` is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from weakref import proxy

import torch
from transformers import Cache, GenerationConfig, StoppingCriteria

from readout_ui.errors import UserError, library_error, required
from readout_ui.inference.forward import room_for_answer
from readout_ui.inference.logits import FiniteLogits, NextLogits
from readout_ui.inference.projection import FarEnough, Projector, Scorer
from readout_ui.inference.sampling import Sampling
from readout_ui.models.calling import NO_TOKEN, arguments_by_name, own_choices
from readout_ui.models.chat_template import TokenRole
from readout_ui.models.devices import not_finite
from readout_ui.models.prompt import FramedChat
from readout_ui.models.tokens import visible_tokens

if TYPE_CHECKING:
    from readout_ui.inference.projection import Projections
    from readout_ui.inference.reading import FloatArray, Reading
    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.vectors import ConceptVectors

Finish = Literal["end", "length", "stopped"]
_Otherwise = Callable[[], UserError]
_PLACED_WRONGLY: _Otherwise = partial(
    library_error, "transformers", "a pass was fed positions that its tokens do not have"
)


class TokenTracker(StoppingCriteria):
    """Watches every new token, as transformers' `generate` asks after each whether to go on.

    A row ends at an end token, at the limit or when `stop` says so. Its last token is then still
    fed once, because only a fed token has activations; what is sampled in that pass is dropped.

    Args:
        n_rows: texts side by side.
        limit: most new tokens of a row.
        end_tokens: ids that end a row; they belong to it.
        stop: asked after every token.
        extra_pass: whether the last token is fed too.
        on_token: called after every step that gave some row a token.
    """

    def __init__(
        self,
        n_rows: int,
        limit: int,
        end_tokens: Collection[int],
        stop: Callable[[], bool],
        extra_pass: bool,
        on_token: Callable[[], None],
    ) -> None:
        self.rows: list[list[int]] = [[] for _ in range(n_rows)]
        self.finish: list[Finish | None] = [None] * n_rows
        self._limit, self._end_tokens, self._stop = limit, frozenset(end_tokens), stop
        self._extra_pass, self._on_token = extra_pass, on_token
        self.newest: list[int] | None = None
        """Of each row, what the next pass has to be fed; None before the first token."""
        self._expected: list[tuple[torch.Tensor, Sequence[int], _Otherwise]] = []

    def __call__(self, input_ids: Any, _scores: Any, **_more: Any) -> Any:
        """True for every row once nothing more is needed of any."""
        was_over = self.over
        self.newest = self.fetched(input_ids[:, -1])
        if not was_over:
            self._take(self.newest)
            self._on_token()
        done = was_over if self._extra_pass else self.over
        return torch.full((len(self.rows),), done, device=input_ids.device)

    @property
    def over(self) -> bool:
        """Whether every row has ended."""
        return all(self.finish)

    def end_early(self) -> None:
        """The pass that only feeds the last token ends behind the last layer that is read."""
        if self.over:
            raise FarEnough

    def expect(self, found: torch.Tensor, due: Sequence[int], otherwise: _Otherwise) -> None:
        """Raise `otherwise()` with the next tokens unless `found`, (n_rows,), is what is due.

        What the device says is fetched together with the tokens, so that nothing waits for it. An
        error that looks up a library's version takes milliseconds: it is made when it is needed.
        """
        self._expected.append((found, due, otherwise))

    def fetched(self, newest: torch.Tensor) -> list[int]:
        """These (n_rows,) tokens on the host, once everything expected is known to hold."""
        expected, self._expected = self._expected, []
        rows = torch.stack([newest, *(found.to(newest) for found, _, _ in expected)]).tolist()
        for (_, due, otherwise), found in zip(expected, rows[1:], strict=True):
            if found != due:
                raise otherwise()
        tokens: list[int] = rows[0]
        return tokens

    def _take(self, tokens: Sequence[int]) -> None:
        stopped = self._stop()
        for row, token in enumerate(tokens):
            if self.finish[row] is None:
                self.rows[row].append(token)
                self.finish[row] = self._ended(row, token, stopped)

    def _ended(self, row: int, token: int, stopped: bool) -> Finish | None:
        if token in self._end_tokens:
            return "end"
        if len(self.rows[row]) >= self._limit:
            return "length"
        return "stopped" if stopped else None


def decoding_config(
    model: LoadedModel, sampling: Sampling, max_new_tokens: int
) -> GenerationConfig:
    """For transformers' `generate`, every choice made here and none by the checkpoint."""
    chance: dict[str, Any] = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}
    if not sampling.greedy:
        chance = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p or None,
        }
    make: Any = GenerationConfig
    config: GenerationConfig = make(
        **chance,
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=max_new_tokens,
        num_beams=1,
        use_cache=True,
        pad_token_id=pad_token(model),
        eos_token_id=NO_TOKEN,  # `TokenTracker` ends rows, one pass later
    )
    return config


def end_tokens(model: LoadedModel) -> frozenset[int]:
    """What ends an answer: the checkpoint's end tokens and the template's end of a turn."""
    configured = required(model.model.generation_config, "eos_token_id", "transformers")
    several = configured if isinstance(configured, list | tuple) else [configured]
    tokenizer: Any = model.tokenizer
    after = tokenizer(model.frame.after, add_special_tokens=False)["input_ids"][:1]
    ends = [*several, tokenizer.eos_token_id, *(t for t in after if t in special_tokens(model))]
    return frozenset(token for token in ends if isinstance(token, int))


def special_tokens(model: LoadedModel) -> frozenset[int]:
    """Ids that are no text, such as those around a turn."""
    added = model.tokenizer.added_tokens_decoder.items()
    return frozenset(index for index, token in added if token.special)


def pad_token(model: LoadedModel) -> int:
    """What fills up shorter prompts; it is masked, so any token would do."""
    tokenizer: Any = model.tokenizer
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(token for token in known if token is not None))


def _fed_wrongly(fed: Any, due: tuple[int, int]) -> UserError:
    shape = tuple(getattr(fed, "shape", ()))
    what = f"a pass was fed {shape} tokens that are not the next {due} of the answer"
    return library_error("transformers", what)


def _unmasked(
    _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # Without a mask only such a cache tells where tokens are; models of states alone have another.
    known = isinstance(kwargs.get("past_key_values"), Cache)
    return args, {**kwargs, "attention_mask": None} if known else kwargs


class Live:
    """A generation under way; use it inside `on_text` only, on the thread that generates.

    Nothing is worked out or moved from the device before it is asked for. `answers` is a proxy, as
    a circle of references would keep the device's memory until garbage is collected.
    """

    def __init__(self, answers: Answers, row: int) -> None:
        self._answers, self._row = answers, row

    @property
    def n_tokens(self) -> int:
        """How many new tokens there are."""
        return len(self._answers.tracker.rows[self._row])

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The new tokens."""
        return tuple(self._answers.tracker.rows[self._row])

    @property
    def text(self) -> str:
        """The new tokens as text, without special tokens and without half a character."""
        return self._answers.text(self._row).rstrip("\ufffd")

    def likeliest(self, count: int) -> tuple[float, list[tuple[int, float]]]:
        """Log probability of the newest token, and the `count` likeliest ids with theirs."""
        return self._answers.logits.likeliest(self._row, self.token_ids[-1], count)

    def reading(self, start: int = 0) -> Reading | None:
        """Scores from position `start` on, the prompt's first token being 0.

        The newest token has none yet: its activations come with the pass that it is fed to.
        """
        return self._answers.reading(self._row, start)

    def scores(self, start: int = 0) -> tuple[FloatArray, FloatArray] | None:
        """Raw and z alone of the same tokens, (n_tokens, n_layers, n_concepts) each."""
        return self._answers.scores(self._row, start)


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
        self.logits = NextLogits(sampling, self.longest)
        self._special = special_tokens(model)
        live = [Live(proxy(self), row) for row in range(len(prompts))]
        self.tracker = TokenTracker(
            len(prompts),
            self.limit,
            end_tokens(model),
            stop,
            extra_pass=vectors is not None,
            on_token=(lambda: on_text(live)) if on_text else (lambda: None),
        )
        self.projector: Projector | None = None
        if vectors is not None:
            self.projector = Projector(vectors, len(prompts), self.tracker.end_early)
            self._scorer = Scorer(vectors)

    def grow(self, sampling: Sampling) -> None:
        """Run transformers' `generate` until every row has ended."""
        ids, mask = self._padded()
        whole: Any = self.model.model
        self._prompt, overflow = (ids, mask), partial(not_finite, self.model.dtype, ids.device)
        self._counted = [len(prompt.token_ids) for prompt in self.prompts]
        watch = whole.register_forward_pre_hook(self._check_fed, with_kwargs=True)
        with own_choices(whole), watch, self._not_asked_for_padding(), suppress(FarEnough):
            whole.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=decoding_config(self.model, sampling, self.limit + 1),
                stopping_criteria=[self.tracker],
                logits_processor=[FiniteLogits(self.tracker, overflow), self.logits],
            )
        self.tracker.fetched(ids[:, -1])  # what the last pass was fed is looked at as well

    def _not_asked_for_padding(self) -> AbstractContextManager[object]:
        """On a device, rows as long as each other go without a mask of ones.

        Whether it is all ones the library asks the device before every pass, and waits.
        """
        padded = any(len(prompt.token_ids) < self.longest for prompt in self.prompts)
        if padded or self.model.device.type == "cpu":
            return nullcontext()
        # Before others, so that steering too counts tokens on the host.
        return self.model.model.register_forward_pre_hook(_unmasked, prepend=True, with_kwargs=True)

    def _check_fed(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Scores are told apart by the order of the passes, so each must feed what is expected.

        A pass that says where its tokens stand has to say what they are counted to be; one that
        does not counts by itself, or has several numbers for a place.
        """
        given, newest = arguments_by_name(module, args, kwargs), self.tracker.newest
        due = len(self.prompts), self.longest if newest is None else 1
        fed, places = given.get("input_ids"), given.get("position_ids")
        wrong = partial(_fed_wrongly, fed, due)
        if not isinstance(fed, torch.Tensor) or fed.shape != due:
            raise wrong()
        if not isinstance(places, torch.Tensor) or places.ndim != 2:
            places = None
        elif places.shape[1] != due[1]:
            raise _PLACED_WRONGLY()
        if newest is None:
            ids, mask = self._prompt
            rows, counts = [True] * len(ids), mask.cumsum(dim=1) - 1
            self.tracker.expect((fed == ids).all(dim=1), rows, wrong)
            if places is not None:
                held = ((places == counts) | (mask == 0)).all(dim=1)
                self.tracker.expect(held, rows, _PLACED_WRONGLY)
            return
        self.tracker.expect(fed[:, 0], newest, wrong)
        if places is not None:
            self.tracker.expect(places.expand_as(fed)[:, 0], self._counted, _PLACED_WRONGLY)
        self._counted = [count + 1 for count in self._counted]

    def text(self, row: int) -> str:
        """The new tokens of a row as text."""
        return str(self.model.tokenizer.decode(self.tracker.rows[row], skip_special_tokens=True))

    def reading(self, row: int, start: int = 0) -> Reading | None:
        """Scores of a row's tokens from `start` on, as far as they were fed."""
        if self.projector is None:
            return None
        prompt, read = self.prompts[row], self._read(self.projector, row, start)
        first = max(0, start - len(prompt.token_ids))  # of the new tokens
        ids = (*prompt.token_ids[start:], *self.tracker.rows[row][first:])[: read.n_tokens]
        roles = (*prompt.roles[start:], *self.roles(row, first))[: read.n_tokens]
        return self._scorer.reading(
            read,
            tokens=visible_tokens(self.model.tokenizer, ids),
            roles=[str(role) for role in roles],
            start=start,
        )

    def scores(self, row: int, start: int = 0) -> tuple[FloatArray, FloatArray] | None:
        """Raw and z of the same tokens, without what else a Reading holds."""
        if self.projector is None:
            return None
        raw = self._read(self.projector, row, start).raw
        return raw, self._scorer.z(raw)

    def _read(self, projector: Projector, row: int, start: int) -> Projections:
        padding = self.longest - len(self.prompts[row].token_ids)
        stop = self.longest + len(self.tracker.rows[row])
        return projector.projections(row, padding + start, stop)

    def roles(self, row: int, start: int = 0) -> tuple[TokenRole, ...]:
        """Of each new token from `start` on: the assistant's, or template for special tokens."""
        special = self._special
        return tuple(
            TokenRole.TEMPLATE if token in special else TokenRole.ASSISTANT
            for token in self.tracker.rows[row][start:]
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
