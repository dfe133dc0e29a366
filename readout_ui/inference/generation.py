"""Text generation with transformers' own `generate`, read out in the passes that make it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from readout_ui.activations.hooks import inference, recording
from readout_ui.errors import UserError
from readout_ui.inference.decoding import Answers, Finish, Live, pad_token
from readout_ui.inference.forward import read_blocks, require_fit, require_room
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import TokenRole, Turn
from readout_ui.models.devices import Shortage, within_memory
from readout_ui.models.prompt import FramedChat
from readout_ui.models.trial import (
    N_STEPS,
    reads_padding,
    repeated,
    turning_points,
    why_no_cache,
)
from readout_ui.texts.reading import require_readable

if TYPE_CHECKING:
    from readout_ui.inference.reading import Reading
    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.vectors import ConceptVectors


Steering = Callable[[Sequence[FramedChat]], AbstractContextManager[object]]
"""Changes the model for the rows of a batch, in the order given, while the context is open."""


ENDS: dict[Finish, str] = {
    "end": "ended by itself",
    "length": "cut at the limit",
    "stopped": "stopped",
}


@dataclass(frozen=True, eq=False)
class Generated:
    """One finished generation."""

    prompt: FramedChat
    """What the model was given."""
    token_ids: tuple[int, ...]
    """The new tokens, the one that ended the answer included."""
    roles: tuple[TokenRole, ...]
    """Of each new token: the assistant's, or template for special tokens."""
    text: str
    """The new tokens as text, without special tokens."""
    finish: Finish
    """Why it ended: "end" (the model's own end token), "length" or "stopped"."""
    reading: Reading | None
    """Scores of prompt and new tokens; None where no vectors were given."""
    seconds: float
    """Wall-clock time, of the whole batch where there was one."""
    note: str = ""
    """What the user should know, e.g. that the context window cut the answer short."""

    @property
    def ending(self) -> str:
        """Why it ended, in words."""
        return ENDS[self.finish]

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else f"{self.text[:59]}…"
        return f"<Answer of {len(self.token_ids)} tokens ({self.finish}): {text!r}>"

    @property
    def whole(self) -> FramedChat:
        """Prompt and new tokens with all roles, for an offline read of the same text."""
        return FramedChat(
            (*self.prompt.token_ids, *self.token_ids), (*self.prompt.roles, *self.roles)
        )


def never() -> bool:
    """The `stop` of a generation that is never stopped."""
    return False


def frame_for_answer(
    model: LoadedModel,
    turns: Sequence[Turn],
    system: str = "",
    template_kwargs: Mapping[str, Any] | None = None,
) -> FramedChat:
    """A chat up to where the assistant is about to answer.

    Args:
        model: the model.
        turns: what was said.
        system: an instruction in front of it.
        template_kwargs: variables of the chat template, such as `enable_thinking`.

    Raises:
        UserError: there are no turns, or an order of turns that the chat template refuses.
    """
    spoken = [Turn("system", system.strip()), *turns] if system.strip() else turns
    if not turns:
        raise UserError("there is nothing to answer", fix="write a message")
    require_readable("".join(turn.text for turn in spoken), "")
    return model.frame.frame_chat(spoken, True, template_kwargs)


def generate(
    model: LoadedModel,
    prompt: FramedChat,
    sampling: Sampling,
    *,
    vectors: ConceptVectors | None = None,
    steering: Callable[[FramedChat], AbstractContextManager[object]] | None = None,
    on_text: Callable[[Live], None] | None = None,
    stop: Callable[[], bool] = never,
) -> Generated:
    """Continue one prompt.

    Every token is projected in the pass that feeds it, so reading costs no pass of its own but
    the one for the last token, and equals an offline read of the finished text.

    Args:
        model: the model; nothing of it is changed, not even torch's random state.
        prompt: what it continues, e.g. from `frame_for_answer`.
        sampling: how tokens are chosen.
        vectors: what is read out; None reads nothing.
        steering: opened around all passes, before the reading's hooks, which see what it did.
        on_text: called after every new token; it may raise, e.g. Cancelled.
        stop: asked after every token; True ends the answer there.

    Raises:
        UserError: the prompt fills the context window, or the vectors do not fit the model.
    """
    return generate_batch(
        model,
        [prompt],
        sampling,
        vectors=vectors,
        steering=None if steering is None else lambda prompts: steering(prompts[0]),
        on_text=None if on_text is None else lambda rows: on_text(rows[0]),
        stop=stop,
    )[0]


def generate_batch(
    model: LoadedModel,
    prompts: Sequence[FramedChat],
    sampling: Sampling,
    *,
    vectors: ConceptVectors | None = None,
    steering: Steering | None = None,
    on_text: Callable[[Sequence[Live]], None] | None = None,
    stop: Callable[[], bool] = never,
) -> list[Generated]:
    """Continue several prompts side by side, padded on the left; `generate` says the rest.

    Rows share one random state, so sampled texts (temperature above 0) differ from those that each
    prompt would get alone; greedy texts and all scores do not. Models that read padding (some
    recurrent ones do) continue prompts of different lengths one after another. Where memory runs
    out, half of them go at a time, unless `on_text` was already called with them.
    """
    for prompt in prompts:
        require_room(model, prompt)
    _require_cache(model, prompts, sampling.max_new_tokens)
    if vectors is not None:
        require_fit(model, vectors)
    if not _may_stand_together(model, prompts, sampling.max_new_tokens):
        if on_text is not None:
            raise UserError(
                f"{model.name} reads the padding before a shorter prompt",
                fix="ask prompts of different lengths one after another",
            )
        one = partial(generate_batch, model, sampling=sampling, vectors=vectors)
        return [one([prompt], steering=steering, stop=stop)[0] for prompt in prompts]
    work = partial(_answers, model, prompts, sampling, vectors, steering, on_text, stop)
    made = within_memory(work)
    if not isinstance(made, Shortage):
        return made
    if len(prompts) > 1 and on_text is None:
        middle, alike = len(prompts) // 2, partial(generate_batch, model, sampling=sampling)
        alike = partial(alike, vectors=vectors, steering=steering, stop=stop)
        return [*alike(prompts[:middle]), *alike(prompts[middle:])]
    longest = max(len(prompt.token_ids) for prompt in prompts) + sampling.max_new_tokens
    lower = "shorten the prompt or ask for fewer new tokens"
    what = f"an answer of up to {longest} tokens with its prompt"
    raise made.error(model.device, what, model.name, lower)


_TRIED: WeakKeyDictionary[LoadedModel, dict[int, str]] = WeakKeyDictionary()
"""Why texts beyond a number of tokens cannot be answered; "" where they can."""


def _require_cache(model: LoadedModel, prompts: Sequence[FramedChat], n_new: int) -> None:
    """UserError where the model's cache would make other scores than a whole text's.

    What the trial at load could not see is tried where a text first grows beyond a window: some
    architectures cut their cache there and do not mask what a whole text has before it.
    """
    why, longest = model.no_answers, max(prompts, key=lambda prompt: len(prompt.token_ids))
    passed = _turning_point(model, len(longest.token_ids) + n_new, N_STEPS)
    tried = _TRIED.setdefault(model, {})
    if passed and passed not in tried:
        ids = repeated(longest.token_ids, passed)
        found = within_memory(partial(why_no_cache, model.model, ids))
        if not isinstance(found, Shortage):  # else the answer will say what it has no memory for
            tried[passed] = found
    why = why or tried.get(passed, "")
    if why:
        raise UserError(
            f"{why}, so the scores of its answers would be wrong",
            where=model.name,
            fix="read finished texts with it, or choose another model",
        )


def _turning_point(model: LoadedModel, n_tokens: int, n_more: int) -> int:
    """The last length that so many tokens pass and that can be tried with some more; 0 if none."""
    room = n_tokens + n_more if model.context_length is None else model.context_length
    passed = [n for n in turning_points(model.model) if n < n_tokens and n + n_more < room]
    return max(passed, default=0)


_TAKES_PADDING: WeakKeyDictionary[LoadedModel, dict[int, bool]] = WeakKeyDictionary()
"""Whether padding was seen to change nothing in texts beyond a number of tokens."""


def _may_stand_together(model: LoadedModel, prompts: Sequence[FramedChat], n_new: int) -> bool:
    """Whether no prompt is padded, or the model was seen to leave padding out."""
    shortest = min((prompt.token_ids for prompt in prompts), key=len)
    longest = max(len(prompt.token_ids) for prompt in prompts)
    n_padding = longest - len(shortest)
    if n_padding == 0:
        return True
    passed = _turning_point(model, longest + n_new, N_STEPS + n_padding)
    tried = _TAKES_PADDING.setdefault(model, {})
    if passed not in tried:
        ids = repeated(shortest, max(len(shortest), passed))
        padding = [pad_token(model)] * n_padding
        found = within_memory(partial(reads_padding, model.model, ids, padding))
        if isinstance(found, Shortage):
            return True  # the answers themselves will say what there is no memory for
        tried[passed] = not found
    return tried[passed]


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Torch's chance starts from `seed` and is as before afterwards."""
    # A seed goes to every device, whichever the model is on.
    begun: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count()) if begun else ()
    before = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            if before is not None:
                torch.mps.set_rng_state(before)


def _answers(
    model: LoadedModel,
    prompts: Sequence[FramedChat],
    sampling: Sampling,
    vectors: ConceptVectors | None,
    steering: Steering | None,
    on_text: Callable[[Sequence[Live]], None] | None,
    stop: Callable[[], bool],
) -> list[Generated]:
    answers = Answers(model, prompts, sampling, vectors, on_text, stop)
    started = time.perf_counter()
    with ExitStack() as around:
        around.enter_context(inference(model.model))
        around.enter_context(_seeded(model.device, sampling.seed))
        if steering is not None:
            around.enter_context(steering(prompts))
        if vectors is not None and answers.projector is not None:
            paths = read_blocks(model, vectors)
            around.enter_context(recording(model.model, paths, answers.projector, vectors.layers))
        answers.grow(sampling)
    seconds = time.perf_counter() - started
    return [_generated(answers, row, seconds) for row in range(len(prompts))]


def _generated(answers: Answers, row: int, seconds: float) -> Generated:
    finish = answers.tracker.finish[row] or "stopped"
    return Generated(
        prompt=answers.prompts[row],
        token_ids=tuple(answers.tracker.rows[row]),
        roles=answers.roles(row),
        text=answers.text(row),
        finish=finish,
        reading=answers.reading(row),
        seconds=seconds,
        note=answers.note if finish == "length" else "",
    )
