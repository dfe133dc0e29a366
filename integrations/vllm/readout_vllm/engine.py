"""In the engine: rows go from the worker's output into the output of their request.

A watched concept over its threshold is found here, where an answer can still be ended: the token
that fired is the last one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from readout_vllm.asks import Ask
from readout_vllm.loaded import asked, export_of
from readout_vllm.wire import CARRIER, Rows, firing, pack
from readout_vllm.worker import READOUT

if TYPE_CHECKING:
    from readout_vllm.settings import Settings

Fired = list[tuple[int, int, float]]


@dataclass(frozen=True)
class Watched:
    """A request whose concepts are watched; it lives as long as vLLM's own request."""

    ask: Ask
    fired: set[int]
    """Places of the concepts that fired before."""


class EngineReadout:
    """What one scheduler remembers between a pass and the outputs of its requests."""

    def __init__(self, settings: Settings, stops: dict[str, tuple[int, str]]) -> None:
        self._settings, self._export = settings, export_of(settings)
        self._stops = stops
        """Request id -> (number of output tokens at which it ends, why)."""

    def watch(self, requests: Any, found: dict[str, Rows]) -> dict[str, Fired]:
        """Which watched concepts fire in this pass, each concept once per answer."""
        made: dict[str, Fired] = {}
        for request_id, rows in found.items():
            request = requests.get(request_id)
            watched = None if request is None else self._watched(request)
            if watched is None or rows.generated is None:
                continue
            now = firing(self._export, watched.ask, rows.generated)
            new = [one for one in now if one[0] not in watched.fired]
            watched.fired.update(one[0] for one in new)
            if new:
                made[request_id] = new
                if watched.ask.stop:
                    concept = self._export.concepts[new[0][0]]
                    at = request.num_output_tokens + new[0][1] + 1
                    self._stops[request_id] = (at, f"readout:{concept}")
        return made

    def _watched(self, request: Any) -> Watched | None:
        """What a request watches, read in its first pass: reading its wishes takes 0.04 ms."""
        if not hasattr(request, READOUT):
            parameters = getattr(request, "sampling_params", None)
            ask = asked(getattr(parameters, "extra_args", None), self._settings)
            request.readout = Watched(ask, set()) if ask is not None and ask.watch else None
        watched: Watched | None = request.readout
        return watched


def patch(settings: Settings) -> None:
    """Wrap the scheduler's bookkeeping of a pass, and its check whether an answer ends."""
    from vllm.v1.core.sched import scheduler
    from vllm.v1.request import RequestStatus

    update, check = scheduler.Scheduler.update_from_output, scheduler.check_stop
    stops: dict[str, tuple[int, str]] = {}

    def check_stop(request: Any, max_model_len: int) -> bool:
        ended = check(request, max_model_len)
        at, why = stops.get(request.request_id, (0, ""))
        if not ended and at and request.num_output_tokens >= at:
            request.status, request.stop_reason = RequestStatus.FINISHED_STOPPED, why
            return True
        return bool(ended)

    @functools.wraps(update)
    def update_from_output(
        self: Any, scheduled: Any, output: Any, *args: Any, **kwargs: Any
    ) -> Any:
        found: dict[str, Rows] = getattr(output, READOUT, {})
        fired: dict[str, Fired] = {}
        if found:
            if not hasattr(self, "readout"):
                self.readout = EngineReadout(settings, stops)
            fired = self.readout.watch(self.requests, found)
        outputs = update(self, scheduled, output, *args, **kwargs)
        if found:
            _attach(outputs, found, fired)
            stops.clear()
        return outputs

    scheduler.check_stop = check_stop
    scheduler.Scheduler.update_from_output = update_from_output


def _attach(outputs: Any, found: dict[str, Rows], fired: dict[str, Fired]) -> None:
    for per_client in outputs.values():
        for out in per_client.outputs:
            rows = found.get(out.request_id)
            if rows is None:
                continue
            n_new = len(out.new_token_ids)
            kept = [one for one in fired.get(out.request_id, ()) if one[1] < n_new]
            carried = {CARRIER: pack(rows, n_new, kept)}
            out.kv_transfer_params = {**(out.kv_transfer_params or {}), **carried}
