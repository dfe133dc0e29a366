"""Rows in the answers of the OpenAI routes: chat and plain completions, streamed or whole."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from readout_vllm.loaded import asked, export_of
from readout_vllm.wire import answer_fields, merged, summary_fields

if TYPE_CHECKING:
    from readout_vllm.export import Export
    from readout_vllm.settings import Settings


class Pending:
    """What choices of one streamed answer wait to carry, by their index."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._rows: dict[int, list[Any]] = {}
        self._last: dict[int, dict[str, Any]] = {}

    def take(self, index: int, completion: Any) -> None:
        """Remember the rows of a completion until a chunk of its choice leaves."""
        ask = completion.readout_ask
        if ask is None:
            return
        generated, prompt = completion.readout, completion.readout_prompt
        kept = self._rows.setdefault(index, [ask, None, None])
        kept[1], kept[2] = merged(kept[1], generated), merged(kept[2], prompt)
        if completion.finish_reason is not None:
            self._last[index] = summary_fields(
                self._export, ask, completion.readout_all, completion.readout_fired
            )

    def into(self, event: str) -> str:
        """A server-sent event with what its choices wait to carry."""
        if not self._rows or not event.startswith("data: {"):
            return event
        chunk = json.loads(event[len("data: ") :])
        changed = False
        for choice in chunk.get("choices", ()):
            # The chunk that only names the role leaves before the first token's own.
            if (choice.get("delta") or {}).get("role") and not choice["delta"].get("content"):
                continue
            changed |= self._fill(choice)
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" if changed else event

    def _fill(self, choice: dict[str, Any]) -> bool:
        index = choice["index"]
        fields: dict[str, Any] = {}
        if (kept := self._rows.pop(index, None)) is not None:
            fields = answer_fields(self._export, *kept)
        if choice.get("finish_reason"):
            fields |= self._last.pop(index, {})
        choice.update(fields)
        return bool(fields)


def whole_fields(export: Export, completion: Any) -> dict[str, Any]:
    """What a choice of an answer that is sent at once carries."""
    ask = completion.readout_ask
    if ask is None:
        return {}
    fields = answer_fields(export, ask, completion.readout, completion.readout_prompt)
    return fields | summary_fields(export, ask, completion.readout_all, completion.readout_fired)


def patch(settings: Settings) -> None:
    """Wrap the four makers of answers; an offline installation without them stays as it is."""
    try:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
        from vllm.entrypoints.openai.completion.protocol import CompletionRequest
        from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
    except ImportError:
        return
    for request in (ChatCompletionRequest, CompletionRequest):
        _patch_request(request, settings)
    _patch_chat(OpenAIServingChat, settings)
    _patch_completions(OpenAIServingCompletion, settings)


def _patch_request(request: Any, settings: Settings) -> None:
    """Refuse a wrong wish where vLLM turns a ValueError into status 400; later it would be 500."""
    make = request.to_sampling_params

    @functools.wraps(make)
    def to_sampling_params(self: Any, *args: Any, **kw: Any) -> Any:
        asked(self.vllm_xargs, settings)
        return make(self, *args, **kw)

    request.to_sampling_params = to_sampling_params


def _patch_chat(serving: Any, settings: Settings) -> None:
    export = export_of(settings)
    stream, whole = serving.chat_completion_stream_generator, serving.chat_completion_full_generator

    @functools.wraps(stream)
    async def streamed(
        self: Any, request: Any, results: Any, *args: Any, **kw: Any
    ) -> AsyncIterator[str]:
        pending = Pending(export)
        watched = (
            _watched_chat(results, pending) if asked(request.vllm_xargs, settings) else results
        )
        async for event in stream(self, request, watched, *args, **kw):
            yield pending.into(event)

    @functools.wraps(whole)
    async def at_once(self: Any, request: Any, results: Any, *args: Any, **kw: Any) -> Any:
        seen: dict[int, dict[str, Any]] = {}

        async def watched() -> AsyncIterator[Any]:
            async for result in results:
                for completion in result.outputs:
                    seen[completion.index] = whole_fields(export, completion)
                yield result

        response = await whole(self, request, watched(), *args, **kw)
        _set(getattr(response, "choices", ()), seen)
        return response

    serving.chat_completion_stream_generator = streamed
    serving.chat_completion_full_generator = at_once


async def _watched_chat(results: Any, pending: Pending) -> AsyncIterator[Any]:
    async for result in results:
        for completion in result.outputs:
            pending.take(completion.index, completion)
        yield result


def _patch_completions(serving: Any, settings: Settings) -> None:
    export = export_of(settings)
    stream, whole = (
        serving.completion_stream_generator,
        serving.request_output_to_completion_response,
    )

    @functools.wraps(stream)
    async def streamed(
        self: Any, request: Any, inputs: Any, results: Any, *args: Any, **kw: Any
    ) -> AsyncIterator[str]:
        pending, n = Pending(export), request.n or 1
        watched = (
            _watched_prompts(results, pending, n)
            if asked(request.vllm_xargs, settings)
            else results
        )
        async for event in stream(self, request, inputs, watched, *args, **kw):
            yield pending.into(event)

    @functools.wraps(whole)
    def at_once(self: Any, results: Any, *args: Any, **kw: Any) -> Any:
        response = whole(self, results, *args, **kw)
        completions = [one for result in results for one in result.outputs]
        _set(
            getattr(response, "choices", ()),
            {place: whole_fields(export, one) for place, one in enumerate(completions)},
        )
        return response

    serving.completion_stream_generator = streamed
    serving.request_output_to_completion_response = at_once


async def _watched_prompts(results: Any, pending: Pending, n: int) -> AsyncIterator[Any]:
    async for prompt, result in results:
        for completion in result.outputs:
            pending.take(completion.index + prompt * n, completion)
        yield prompt, result


def _set(choices: Any, fields: dict[int, dict[str, Any]]) -> None:
    for choice in choices:
        for name, value in fields.get(choice.index, {}).items():
            setattr(choice, name, value)
