"""A model on the workers of a Ray cluster: each has weights of its own, and they share the work.

The process that asks needs no weights: what it has to know of the model, a worker tells it. Ray is
imported here and nowhere else, once a cluster is asked for.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

from readout_ui.errors import UserError
from readout_ui.models.blocks import BlockPaths, LayerConfig
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.remembered import RememberedModel, noted, noted_frame, open_model
from readout_ui.progress import Progress, Report, silent

AHEAD = 2
"""Shards that a worker has at once, so that it never waits for the next one."""
MOST_DEATHS = 3
"""Workers that may end over the same shard, or one after the other before they are ready."""
_HEARTBEAT = 1.0
"""Seconds after which the caller is asked again whether to go on."""
_INSTALL = 'pip install -e ".[ray]"'
Work: TypeAlias = Callable[..., Any]
"""A function of the model and the parts of a shard; workers find it by its module and name."""


_Given: TypeAlias = tuple[int, tuple[Any, ...]]
"""A shard and its number."""


@dataclass(frozen=True)
class Cluster:
    """Where workers run, and how many."""

    address: str = "auto"
    """"auto" (RAY_ADDRESS, or what runs on this machine, or one that is started), or HOST:PORT."""
    gpus_per_model: int | None = None
    """GPUs of one node that a worker spreads its weights over; None for one where there are any."""
    workers: int | None = None
    """How many; None for as many as the GPUs carry, or one on every node without GPUs."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("--gpus-per-model", self.gpus_per_model, 0),
            ("--workers", self.workers, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"{name} is {value}", fix=f"choose at least {least}")


class Worker:
    """One process of the cluster with a model, loaded at the first text."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._framed: dict[str, LoadedModel] = {}

    def do(self, work: Work | None, frame: dict[str, Any], shard: tuple[Any, ...]) -> Any:
        """What `work` makes of the model in that frame and of the shard; None only says "ready"."""
        return None if work is None else work(self._in_frame(frame), *shard)

    def _in_frame(self, frame: dict[str, Any]) -> LoadedModel:
        """The same object for the same frame, so that a shared prefix is computed once."""
        if not self._framed:
            self._framed[""] = open_model(self._spec)
        plain, mark = self._framed[""], frame.get("fingerprint", "")
        if mark not in self._framed:
            self._framed[mark] = plain.with_frame(plain.frame.changed(**frame))
        return self._framed[mark]


class Workers:
    """Workers that come, work and are replaced when they end.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or it has too few GPUs.
    """

    def __init__(self, spec: ModelSpec, cluster: Cluster) -> None:
        self._ray, self._connected = _connect(cluster.address)
        n_workers, options = shares(self._ray.nodes(), cluster)
        actor = self._ray.remote(**options)(Worker)
        self._make: Callable[[], Any] = lambda: actor.remote(spec)
        self._ready: list[Any] = []
        self._coming: dict[Any, Any] = {}
        """By the reference of its first answer, a worker that is not ready."""
        self._deaths = 0
        self.n_workers, self.on_gpus = n_workers, "num_gpus" in options
        for _ in range(n_workers):
            self._start()

    def each(
        self, work: Work, frame: dict[str, Any], shards: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Any] | None]:
        """Every shard with what `work` made of it, in the order in which workers are done.

        Args:
            work: called with the model and the parts of a shard.
            frame: what stands round texts, as `noted_frame` gives it.
            shards: taken one by one, as workers are free.

        Yields:
            A shard and its result; None where a second went by, so that the caller can stop.

        Raises:
            UserError: `work` raised it, or workers end again and again.
        """
        left, again = enumerate(shards), deque[_Given]()
        running: dict[Any, tuple[Any, _Given]] = {}
        deaths: Counter[int] = Counter()
        while True:
            for worker in self._free(Counter(worker for worker, _ in running.values())):
                given = again.popleft() if again else next(left, None)
                if given is None:
                    break
                running[worker.do.remote(work, frame, given[1])] = worker, given
            if not running and not again and self._ready:
                return
            done, _ = self._ray.wait([*running, *self._coming], timeout=_HEARTBEAT)
            if not done:
                yield None
                continue
            if done[0] in self._coming:
                self._arrive(done[0])
                continue
            worker, given = running.pop(done[0])
            try:
                result = self._result(done[0])
            except self._ray.exceptions.RayError as error:
                deaths[given[0]] += 1
                again.append(given)
                self._replace(worker, error, deaths[given[0]])
                continue
            yield given[1], result

    def close(self) -> None:
        """End the workers; a cluster that others started goes on."""
        for worker in (*self._ready, *self._coming.values()):
            self._ray.kill(worker)
        if self._connected:
            self._ray.shutdown()

    def _free(self, busy: Counter[Any]) -> Iterator[Any]:
        """Workers that can take a shard, the least busy first; those that can take two, twice."""
        for n_given in range(AHEAD):
            yield from [worker for worker in self._ready if busy[worker] <= n_given]

    def _start(self) -> None:
        worker = self._make()
        self._coming[worker.do.remote(None, {}, ())] = worker

    def _arrive(self, reference: Any) -> None:
        """A worker that was started is ready, or has to be started again."""
        worker = self._coming.pop(reference)
        try:
            self._result(reference)
        except self._ray.exceptions.RayError as error:
            self._deaths += 1
            self._ready.append(worker)
            self._replace(worker, error, self._deaths)
        else:
            self._deaths = 0
            self._ready.append(worker)

    def _replace(self, worker: Any, error: Exception, n_deaths: int) -> None:
        """Start another worker, once for each that has ended.

        Raises:
            UserError: too many have.
        """
        if n_deaths >= MOST_DEATHS:
            raise UserError(
                f"{n_deaths} workers ended one after the other ({type(error).__name__})",
                fix="give a model more GPUs or memory, or choose a smaller --batch-size",
            ) from error
        if worker in self._ready:
            self._ready.remove(worker)
            self._ray.kill(worker)
            self._start()

    def _result(self, reference: Any) -> Any:
        """What a worker answered; its own errors are raised as they are."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None


def _connect(address: str) -> tuple[Any, bool]:
    """Ray, connected, and whether this call has done it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise UserError("--ray needs Ray, which is not installed", fix=_INSTALL) from error
    if ray.is_initialized():
        return ray, False
    try:
        where = None if address == "auto" else address
        ray.init(where, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"there is no Ray cluster at {address!r}",
            fix="start one with `ray start --head`, or choose --ray auto",
        ) from error
    return ray, True


def shares(nodes: Iterable[dict[str, Any]], cluster: Cluster) -> tuple[int, dict[str, Any]]:
    """How many workers there are, and what each takes of its node."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = [int(node.get("GPU", 0)) for node in alive]
    cpus = min(int(node.get("CPU", 1)) for node in alive) or 1
    each = min(1, max(gpus)) if cluster.gpus_per_model is None else cluster.gpus_per_model
    if each > max(gpus):
        raise UserError(
            f"no node of the cluster has {each} GPUs, the largest has {max(gpus)}",
            fix="choose a smaller --gpus-per-model",
        )
    if each:
        room = sum(n // each for n in gpus)
        return min(room, cluster.workers or room), {"num_gpus": each, "num_cpus": 1}
    n_workers = cluster.workers or len(alive)
    return n_workers, {"num_cpus": max(1, min(cpus, cpus * len(alive) // n_workers))}


@dataclass(frozen=True, eq=False, repr=False)
class SpreadModel(RememberedModel):
    """A model that workers read texts with; here it is loaded only for what they are not asked."""

    def spread(
        self, work: Work, shards: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Any] | None]:
        """`Workers.each` in this model's frame."""
        workers: Workers = vars(self)["_workers"]
        return workers.each(work, noted_frame(self.frame), shards)

    @property
    def n_workers(self) -> int:
        """How many workers there are, those that are coming included."""
        return int(vars(self)["_workers"].n_workers)

    @property
    def on_gpus(self) -> bool:
        """Whether the workers have GPUs."""
        return bool(vars(self)["_workers"].on_gpus)

    def __getattr__(self, name: str) -> Any:
        """The tokenizer from a worker, which has its files; the rest as it is loaded here."""
        if name != "tokenizer":
            return super().__getattr__(name)
        vars(self)[name] = _answer(self.spread(_tokenizer, [()]))
        return vars(self)[name]

    def blocks(
        self, layer_type: str = "decoder_block", layer_config: LayerConfig | None = None
    ) -> BlockPaths:
        """Module paths of one layer type, one per layer."""
        if not layer_config and layer_type in vars(self)["_paths"]:
            return super().blocks(layer_type)
        found: BlockPaths = _answer(self.spread(LoadedModel.blocks, [(layer_type, layer_config)]))
        return found


def _tokenizer(model: LoadedModel) -> Any:
    return model.tokenizer


def _answer(results: Iterator[tuple[tuple[Any, ...], Any] | None]) -> Any:
    """The first result."""
    return next(found[1] for found in results if found is not None)


@contextmanager
def spread_model(
    spec: ModelSpec, cluster: Cluster, report: Report = silent
) -> Iterator[SpreadModel]:
    """The model on as many workers as the cluster carries; they end with the block.

    Raises:
        UserError: there is no Ray, no such cluster, or the model cannot be loaded there.
        Cancelled: `report` raised it.
    """
    workers = Workers(spec, cluster)
    try:
        waited = Progress("Starting workers", 0, 0, "workers")
        report(waited)
        for found in workers.each(noted, {}, [()]):
            report(waited)
            if found is not None:
                known = found[1]
        model = SpreadModel.of(spec, known, cache(lambda: load_model(spec, report)))
        for each in (model, model.framed("none")):
            vars(each).update(_workers=workers)
        yield model
    finally:
        workers.close()
