"""A model whose identity is known from an earlier load, and which is loaded once it is needed.

Which activations a model would give follows from its files, so a training whose texts were all read
before needs no weights, no tokenizer and no transformers. What it does need is kept in a small file
per model, found by the status of the model's files, the library's versions and what was asked for.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from readout_ui.errors import UserError
from readout_ui.files import cache_folder, put_bytes
from readout_ui.models.blocks import LAYER_TYPES, BlockPaths, LayerConfig
from readout_ui.models.devices import choose_device, choose_dtype
from readout_ui.models.loading import LoadedModel, ModelSpec, find_files, load_model
from readout_ui.models.prompt import PromptFrame
from readout_ui.progress import Report, silent

_FORMAT = 2
"""Counts up when files of an older version must not be used any more."""
_LIBRARIES = ("torch", "transformers", "tokenizers")
_NOTED = (
    *("name", "revision", "fingerprint", "identity", "n_layers", "d_model", "context_length"),
    "no_answers",
)
_FRAME = ("question", "kind", "before", "after", "fingerprint", "note", "raw", "prompted")
_FIELDS = frozenset(field.name for field in fields(LoadedModel))


def open_model(spec: ModelSpec, report: Report = silent) -> LoadedModel:
    """The model, loaded now where nothing is known of it, else when it has to read something.

    Raises:
        UserError: as `load_model`.
    """
    file = None
    # What cannot be read, or does not say what it should, is as good as nothing.
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        file = cache_folder() / "known" / f"{_key(spec, report)}.json"
        known = json.loads(file.read_text("utf-8"))
        return RememberedModel.of(spec, known, cache(lambda: load_model(spec, report)))
    model = load_model(spec, report)
    if file is not None:
        with suppress(OSError):  # the next time it is loaded again
            put_bytes(file, json.dumps(noted(model)).encode(), durable=False)
    return model


def _key(spec: ModelSpec, report: Report) -> str:
    """What decides a model's identity; OSError where a file of it is gone."""
    device = choose_device(spec.device)
    checkpoint, tokenizer = find_files(spec, report)
    folders = {checkpoint.folder, tokenizer.folder, *filter(None, (checkpoint.adapter,))}
    asked = [asdict(spec), str(device), str(choose_dtype(spec.dtype, device)), checkpoint.name]
    states = [state_of(file) for folder in sorted(folders) for file in sorted(folder.iterdir())]
    identity = json.dumps([_FORMAT, asked, [installed(name) for name in _LIBRARIES], states])
    return hashlib.sha256(identity.encode()).hexdigest()


def state_of(file: Path) -> list[str | int]:
    """Name, size and times of a file; the time of a change of status cannot be set by hand."""
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def installed(package: str) -> str:
    """A package's version; empty where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def noted(model: LoadedModel) -> dict[str, Any]:
    """What a training without new texts needs of a model."""
    paths = {}
    for layer_type in LAYER_TYPES:
        with suppress(UserError):  # a model without such modules
            found = model.blocks(layer_type)
            paths[layer_type] = [found.template, list(found.names)]
    return {
        **{name: getattr(model, name) for name in _NOTED},
        "dtype": str(model.dtype).removeprefix("torch."),
        "paths": paths,
        "frames": [noted_frame(model.framed(frame).frame) for frame in ("chat", "none")],
    }


def noted_frame(frame: PromptFrame) -> dict[str, Any]:
    """All of a frame but its tokenizer."""
    return {name: getattr(frame, name) for name in _FRAME}


@dataclass(frozen=True, eq=False, repr=False)
class RememberedModel(LoadedModel):
    """A model that is loaded when something is asked of it that was not noted."""

    @classmethod
    def of(cls, spec: ModelSpec, known: dict[str, Any], load: Callable[[], LoadedModel]) -> Self:
        """From what was noted of the model, and what loads it, once however often it is called."""
        plain, alone = (cls._framed_as(spec, known, frame, load) for frame in known["frames"])
        # Where the cached property of LoadedModel puts it; after loading it is one of its own.
        vars(plain)["_without_frame"] = alone
        return plain

    @classmethod
    def _framed_as(
        cls,
        spec: ModelSpec,
        known: dict[str, Any],
        frame: dict[str, Any],
        load: Callable[[], LoadedModel],
    ) -> Self:
        import torch

        model = object.__new__(cls)
        vars(model).update({name: known[name] for name in _NOTED})
        vars(model).update(spec=spec, dtype=getattr(torch, known["dtype"]), _load=load)
        vars(model).update(_paths=known["paths"], frame=_RememberedFrame.of(model, frame))
        return model

    def __getattr__(self, name: str) -> Any:
        """A field that was not noted: now the model is loaded."""
        if name not in _FIELDS:
            raise AttributeError(name)
        loaded: LoadedModel = vars(self)["_load"]()
        if loaded.identity != self.identity:
            raise UserError("the model's files were changed in this moment", where=self.name)
        frame = loaded.frame.changed(**noted_frame(self.frame))
        own = {field: getattr(loaded, field) for field in _FIELDS}
        vars(self).update({**own, "frame": frame}, _paths={})
        return own[name]

    def with_frame(self, frame: PromptFrame) -> Self:
        """The same model with that frame round texts, still not loaded."""
        made = copy.copy(self)
        vars(made).update(frame=frame)
        return made

    def blocks(
        self, layer_type: str = "decoder_block", layer_config: LayerConfig | None = None
    ) -> BlockPaths:
        """Module paths of one layer type, one per layer."""
        noted = vars(self).get("_paths", {}).get(layer_type)
        if noted is None or layer_config:
            return super().blocks(layer_type, layer_config)
        return BlockPaths(layer_type, noted[0], tuple(noted[1]))


@dataclass(frozen=True, eq=False)
class _RememberedFrame(PromptFrame):
    """The frame of a model that is not loaded; its tokenizer is that of the model, once it is."""

    @classmethod
    def of(cls, model: LoadedModel, known: dict[str, Any]) -> _RememberedFrame:
        frame = object.__new__(cls)
        vars(frame).update({name: known[name] for name in _FRAME}, _model=model)
        return frame

    def __getattr__(self, name: str) -> Any:
        if name != "tokenizer":
            raise AttributeError(name)
        return vars(self)["_model"].tokenizer
