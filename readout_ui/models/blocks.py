"""Where a model keeps its decoder blocks: module paths, checked against its own config.

Guessing the most frequent module pattern picks the vision tower of some vision-language models and
resolves hybrid models wrongly, so nothing is taken here that does not occur once in every block of
the text model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from readout_ui.errors import UserError, required

if TYPE_CHECKING:
    from torch import nn

LAYER_TYPES = (
    "decoder_block",
    "self_attn",
    "mlp",
    "input_layernorm",
    "post_attention_layernorm",
)
LayerPath = str | Callable[[int, "nn.Module"], str]
"""A module path with `{num}` for the layer number, or a function of layer number and model."""
LayerConfig = Mapping[str, LayerPath]
"""Own paths by layer type."""
_CHILDREN = {
    "self_attn": ("self_attn", "attn", "attention", "self_attention", "linear_attn"),
    "mlp": ("mlp", "block_sparse_moe", "feed_forward", "ffn"),
    "input_layernorm": ("input_layernorm", "ln_1"),
    "post_attention_layernorm": ("post_attention_layernorm", "ln_2"),
}
"""Names that architectures give to the same part of a block."""


@dataclass(frozen=True)
class BlockPaths:
    """One module per layer, by its path in the model."""

    layer_type: str
    """One of LAYER_TYPES, or a name from the user's own layer_config."""
    template: str
    """The paths in one line for people, e.g. "model.layers.{num}.mlp"."""
    names: tuple[str, ...]
    """Module paths, n_layers of them, layer 0 first."""


def resolve_blocks(
    model: "nn.Module",
    layer_type: str = "decoder_block",
    layer_config: "LayerConfig | None" = None,
) -> BlockPaths:
    """Module paths of one layer type, one for every layer of the text model.

    Args:
        model: a causal language model, also one with a vision tower.
        layer_type: one of LAYER_TYPES or a key of `layer_config`.
        layer_config: paths that go before what is found here, with `{num}` or as functions.

    Raises:
        UserError: some layers have no such module; names those layers and what they have.
    """
    if layer_config and layer_type in layer_config:
        return _from_template(model, layer_type, layer_config[layer_type])
    if layer_type not in LAYER_TYPES:
        options = (*LAYER_TYPES, *(layer_config or {}))
        raise UserError(f"there is no layer type {layer_type!r}", options=options)
    blocks = _block_names(model)
    if layer_type == "decoder_block":
        return BlockPaths(layer_type, _template(blocks), blocks)
    names = tuple(_child(model, block, layer_type) for block in blocks)
    _require_all(model, layer_type, blocks, names)
    return BlockPaths(layer_type, _template(names), names)


def n_layers(model: "nn.Module") -> int:
    """How many decoder blocks the text model has, by its config.

    Raises:
        UserError: the config does not say, as where a model is made of several.
    """
    return _stated(model, "num_hidden_layers")


def hidden_size(model: "nn.Module") -> int:
    """Width of the residual stream (d_model), by the config of the text model."""
    return _stated(model, "hidden_size")


def _stated(model: "nn.Module", name: str) -> int:
    config = text_config(model)
    found = getattr(config, name, None)
    if not isinstance(found, int):
        raise UserError(
            f"the model's config ({type(config).__name__}) says no {name}, so which of its modules "
            "are the layers of one text model cannot be known",
            fix="choose another model",
        )
    return found


def text_config(model: "nn.Module") -> Any:
    """The config of the text part of a model."""
    config: Any = model.config
    return required(config, "get_text_config", "transformers")(decoder=True)


def config_values(model: "nn.Module", name: str) -> tuple[Any, ...]:
    """What the text config says of `name`: one value, one per layer where layers differ, or none.

    Gemma 4's full-attention layers have another head_dim; since transformers 5.15 asking such a
    config as a whole raises RuntimeError, which getattr lets through.
    """
    config = text_config(model)
    try:
        value = getattr(config, name, None)
    except RuntimeError:
        layers = required(config, "per_layer_config", "transformers")
        return tuple(getattr(layer, name, None) for layer in layers)
    return () if value is None else (value,)


def modules(model: "nn.Module", paths: BlockPaths) -> list["nn.Module"]:
    """The modules behind the paths, layer 0 first."""
    return [model.get_submodule(name) for name in paths.names]


def bare_model(model: "nn.Module") -> "nn.Module":
    """The text decoder without LM head and without towers for other inputs.

    It takes input_ids, attention_mask, use_cache and what `calling.cache_argument` names.
    """
    embeddings, parts = _embeddings_path(model), _block_names(model)[0].split(".")
    return model.get_submodule(".".join(_shared(embeddings, parts)))


_FOUND: "WeakKeyDictionary[nn.Module, tuple[str, ...]]" = WeakKeyDictionary()
"""Looking through a whole model takes as long as reading a few tokens."""


def _block_names(model: "nn.Module") -> tuple[str, ...]:
    found = _FOUND.get(model)
    if found is None:
        found = _FOUND[model] = _find_block_names(model)
    return found


def _find_block_names(model: "nn.Module") -> tuple[str, ...]:
    from torch import nn

    count = n_layers(model)
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0
    }
    fitting = [name for name, module in lists.items() if len(module) == count]
    if not fitting:
        raise UserError(
            f"no list of modules has as many entries as the model's config has layers ({count})",
            fix='give their paths as layer_config, e.g. {"decoder_block": "model.layers.{num}"}',
            options=[
                f"{name} ({len(module)})"
                for name, module in lists.items()
                if not _inside_another_list(name)
            ],
        )
    chosen = _beside_embeddings(model, fitting)
    return tuple(f"{chosen}.{number}" for number in range(count))


def _beside_embeddings(model: "nn.Module", candidates: Sequence[str]) -> str:
    """The list in the same module as the token embeddings; a tower's list never is."""
    if len(candidates) == 1:
        return candidates[0]
    home = _embeddings_path(model)
    outside = [name for name in candidates if not _inside_another_list(name)]

    def shared_then_size(name: str) -> tuple[int, int]:
        size = sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
        return len(_shared(name.split("."), home)), size

    return max(outside or candidates, key=shared_then_size)


def _embeddings_path(model: "nn.Module") -> list[str]:
    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    path = next(name for name, module in model.named_modules() if module is embeddings)
    return str(path).split(".")


def _shared(first: Sequence[str], second: Sequence[str]) -> list[str]:
    pairs = zip(first, second, strict=False)
    return [one for one, _other in takewhile(lambda pair: pair[0] == pair[1], pairs)]


def _inside_another_list(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _child(model: "nn.Module", block: str, layer_type: str) -> str:
    present = dict(model.get_submodule(block).named_children())
    found = next((name for name in _CHILDREN[layer_type] if name in present), "")
    return f"{block}.{found}" if found else ""


def _require_all(
    model: "nn.Module", layer_type: str, blocks: Sequence[str], names: Sequence[str]
) -> None:
    without = [index for index, name in enumerate(names) if not name]
    if not without:
        return
    block = blocks[without[0]]
    children = [name for name, _child_module in model.get_submodule(block).named_children()]
    example = _template([block]).replace(str(without[0]), "{num}", 1)
    raise UserError(
        f"{_layers(without)} of this model have no {layer_type}",
        fix=f'choose another layer type, or give a path as layer_config, e.g. {{"{layer_type}": '
        f'"{example}.{children[0] if children else "name"}"}}',
        options=[f"{block}.{child}" for child in children],
    )


def _from_template(model: "nn.Module", layer_type: str, path: "LayerPath") -> BlockPaths:
    names = tuple(
        path.replace("{num}", str(i)) if isinstance(path, str) else path(i, model)
        for i in range(n_layers(model))
    )
    template = path if isinstance(path, str) else _template(names)
    if len(names) > 1 and len(set(names)) == 1:
        raise UserError(
            f"the path {template!r} has no {{num}} in it",
            where=f"layer_config, {layer_type}",
            fix='write the layer number as {num}, e.g. "model.layers.{num}"',
        )
    known = {name for name, _module in model.named_modules()}
    without = [index for index, name in enumerate(names) if name not in known]
    if without:
        near = get_close_matches(names[without[0]], sorted(known), n=3, cutoff=0.5)
        raise UserError(
            f"{_layers(without)} of this model have nothing at {template!r}",
            where=f"layer_config, {layer_type}",
            fix="correct the path",
            options=near,
        )
    return BlockPaths(layer_type, template, names)


def _template(names: Sequence[str]) -> str:
    """The paths in one line; where layers differ, each form with its layers."""
    forms: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        parts = name.split(".")
        at = max((i for i, part in enumerate(parts) if part.isdigit()), default=len(parts))
        forms.setdefault(".".join([*parts[:at], "{num}", *parts[at + 1 :]]), []).append(index)
    if len(forms) == 1:
        return next(iter(forms))
    return "; ".join(f"{form} ({_layers(layers)})" for form, layers in forms.items())


def _layers(indices: Iterable[int]) -> str:
    numbers = list(indices)
    shown = ", ".join(map(str, numbers[:12])) + (", ..." if len(numbers) > 12 else "")
    return f"layer{'s' if len(numbers) > 1 else ''} {shown}"
