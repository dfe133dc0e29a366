"""A model's cache of keys and values, under whatever name its forward pass has for it.

transformers 5.24 calls it `cache`, earlier versions and code that comes with a model call it
`past_key_values`, some recurrent models `cache_params`. Nothing else here may know these names: one
that is not found means that tokens would be counted wrongly, without a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError, first_line, library_error
from readout_ui.models.blocks import text_config

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_NAMES = ("cache", "past_key_values", "cache_params")
"""Newest first: transformers 5.24 warns when an older name is asked for."""
_OUTPUTS = {
    "use_cache": True,
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "torchscript": False,
}
NO_TOKEN = 2**31 - 1
"""An end token that no vocabulary has."""


def cache_argument(model: nn.Module) -> str:
    """What the model's forward pass calls its cache.

    Raises:
        UserError: it takes none of the known names; says which transformers that is.
    """
    parameters = inspect.signature(model.forward).parameters
    found = next((name for name in _NAMES if name in parameters), None)
    if found is None:
        raise _unknown(f"{type(model).__name__} takes no {' or '.join(_NAMES)}")
    return found


def returned_cache(output: Mapping[str, Any]) -> Any:
    """The cache that a forward pass with `use_cache=True` returned.

    Raises:
        UserError: the output has none under a known name; says which transformers that is.
    """
    found = next((name for name in _NAMES if name in output), None)
    if found is None:
        raise _unknown(f"{type(output).__name__} has no {' or '.join(_NAMES)}")
    return output[found]


def past_length(model: nn.Module, given: Mapping[str, Any]) -> int:
    """How many tokens the model has read before those it is called with.

    Args:
        model: the module that is called.
        given: its arguments by name.

    Raises:
        UserError: it cannot be known: the model has no argument for a cache under a known name, or
            gets something there that does not tell its length.
    """
    cache = next((given[name] for name in _NAMES if given.get(name) is not None), None)
    if cache is None:
        cache_argument(model)  # Without a cache it is 0, but only where its name is known.
        return 0
    if not hasattr(cache, "get_seq_length"):
        raise _unknown(f"a cache of the kind {type(cache).__name__} does not tell its length")
    return int(cache.get_seq_length())


def arguments_by_name(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """What a module is called with, those given by position under their names."""
    names = inspect.signature(model.forward).parameters if args else ()
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _unknown(what: str) -> UserError:
    return library_error("transformers", what)


def settle_outputs(model: PreTrainedModel) -> None:
    """What a forward pass returns is asked for here, and not by the checkpoint's config.json."""
    for config in (model.config, text_config(model)):
        for name, ours in _OUTPUTS.items():
            if getattr(config, name, ours) != ours:
                setattr(config, name, ours)


@contextmanager
def own_choices(model: PreTrainedModel) -> Iterator[None]:
    """Meanwhile the model has a generation config without any choice of the checkpoint's.

    `generate` takes from it whatever its caller leaves open: guidance, prompt lookup, a time limit.
    """
    from transformers import GenerationConfig

    theirs, empty = model.generation_config, GenerationConfig.from_dict({})
    model.generation_config = empty
    try:
        yield
    finally:
        model.generation_config = theirs


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Only transformers' errors, none of its progress bars; both as before afterwards."""
    from transformers.utils import logging

    control: Any = logging
    level, had_bars = control.get_verbosity(), control.is_progress_bar_enabled()
    control.set_verbosity_error()
    control.disable_progress_bar()
    try:
        yield
    finally:
        control.set_verbosity(level)
        if had_bars:
            control.enable_progress_bar()


class LibraryErrors(AbstractContextManager[None]):
    """Whatever libraries say of a model's files inside the block, as one error for a person.

    Of any kind: a number that is a text in config.json, a division by its zero heads, a tokenizer
    of a later version (a bare `Exception`), a pickle that holds code.

    Args:
        what: what cannot be done.
        where: the model.
    """

    def __init__(self, what: str, where: str) -> None:
        self._what, self._where = what, where

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Raise a UserError in the place of another error."""
        if isinstance(error, Exception) and not isinstance(error, UserError):
            why = first_line(error)
            if "ignore_mismatched_sizes" in why:
                why = "its weights have other shapes than its config.json says"
            raise UserError(f"{self._what} ({why})", where=self._where) from error
