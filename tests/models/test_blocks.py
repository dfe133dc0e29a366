"""Every architecture's blocks are found, checked against the config, and the right ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from steering_vectors.layer_matching import collect_matching_layers, guess_and_enhance_layer_config
from transformers import PreTrainedModel

from readout_ui.errors import UserError
from readout_ui.models.blocks import (
    LAYER_TYPES,
    bare_model,
    hidden_size,
    modules,
    n_layers,
    resolve_blocks,
)
from readout_ui.models.calling import cache_argument, returned_cache
from tests.support.architectures import CACHE_LOSES_STATE, HYBRID, WITH_VISION, available, build

TEMPLATES = {
    "opt": "model.decoder.layers.{num}",
    "gpt2": "transformer.h.{num}",
    "gpt-neox": "gpt_neox.layers.{num}",
    "qwen2.5-vl": "model.language_model.layers.{num}",
    "gemma3-vision": "model.language_model.layers.{num}",
}
LIBRARY_FINDS_NONE = (
    ("opt", "mlp"),
    ("opt", "input_layernorm"),
    ("opt", "post_attention_layernorm"),
    ("phi", "post_attention_layernorm"),
    ("mixtral", "mlp"),
)
IDS = torch.arange(3, 15)[None]  # (1, n_tokens)


def outputs_of_blocks(model: PreTrainedModel, run: Callable[[], object]) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).clone())

    handles = [block.register_forward_hook(keep) for block in modules(model, resolve_blocks(model))]
    try:
        with torch.inference_mode():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(seen)  # (n_layers, 1, n_tokens, d_model)


@pytest.mark.parametrize("name", available())
def test_the_resolved_path_of_the_blocks_is_the_text_decoders(name: str) -> None:
    model = build(name)
    paths = resolve_blocks(model)
    assert paths.template == TEMPLATES.get(name, "model.layers.{num}")
    assert len(paths.names) == n_layers(model)
    assert paths.names[1] == paths.template.replace("{num}", "1")
    assert hidden_size(model) == 32


@pytest.mark.parametrize("name", available())
def test_block_outputs_are_the_hidden_states_of_the_whole_model(name: str) -> None:
    model = build(name)
    whole: dict[str, Any] = {}
    blocks = outputs_of_blocks(
        model, lambda: whole.update(model(IDS, output_hidden_states=True, use_cache=False))
    )
    states = whole["hidden_states"]
    assert len(states) == n_layers(model) + 1
    for layer in range(n_layers(model) - 1):  # the last one is returned after the final norm
        torch.testing.assert_close(blocks[layer], states[layer + 1])


@pytest.mark.parametrize("name", available())
def test_the_bare_model_gives_the_same_blocks_without_the_head(name: str) -> None:
    model = build(name)
    mask = torch.ones_like(IDS)
    head_ran: list[int] = []
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    handle = head.register_forward_hook(lambda *_: head_ran.append(1))
    whole = outputs_of_blocks(model, lambda: model(IDS, attention_mask=mask, use_cache=False))
    head_ran.clear()
    bare = outputs_of_blocks(
        model, lambda: bare_model(model)(input_ids=IDS, attention_mask=mask, use_cache=False)
    )
    handle.remove()
    torch.testing.assert_close(bare, whole)
    assert not head_ran


@pytest.mark.parametrize("name", [n for n in available() if n not in CACHE_LOSES_STATE])
def test_the_bare_model_takes_back_its_own_cache(name: str) -> None:
    decoder = bare_model(build(name))
    with torch.inference_mode():
        whole = decoder(input_ids=IDS, use_cache=False).last_hidden_state
        first = decoder(input_ids=IDS[:, :7], use_cache=True)
        second = decoder(
            input_ids=IDS[:, 7:],
            attention_mask=torch.ones_like(IDS),
            use_cache=True,
            **{cache_argument(decoder): returned_cache(first)},
        ).last_hidden_state
    torch.testing.assert_close(second, whole[:, 7:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in available() if n not in (*WITH_VISION, *HYBRID)])
@pytest.mark.parametrize("layer_type", LAYER_TYPES)
def test_paths_agree_with_the_librarys_where_it_finds_one_per_layer(
    name: str, layer_type: str
) -> None:
    model = build(name)
    theirs = guess_and_enhance_layer_config(model, layer_type=layer_type).get(layer_type)
    names = collect_matching_layers(model, theirs) if theirs else []
    if len(names) == n_layers(model):
        assert resolve_blocks(model, layer_type).names == tuple(names)
    else:
        assert (name, layer_type) in LIBRARY_FINDS_NONE


@pytest.mark.parametrize("name", WITH_VISION)
@pytest.mark.parametrize("layer_type", LAYER_TYPES)
def test_the_vision_tower_is_never_picked(name: str, layer_type: str) -> None:
    paths = resolve_blocks(build(name), layer_type)
    assert all(".language_model." in path and "vis" not in path for path in paths.names)


@pytest.mark.parametrize("name", WITH_VISION)
def test_the_vision_tower_is_not_picked_even_when_it_is_as_deep_as_the_text_model(
    name: str,
) -> None:
    model = build(name, num_hidden_layers=4)
    assert n_layers(model) == 4
    assert resolve_blocks(model).template == TEMPLATES[name]


@pytest.mark.parametrize("name", [n for n in available() if n in HYBRID])
def test_hybrid_models_resolve_attention_layer_by_layer_and_say_so(name: str) -> None:
    model = build(name)
    paths = resolve_blocks(model, "self_attn")
    assert [path.rsplit(".", 1)[1] for path in paths.names] == ["linear_attn"] * 3 + ["self_attn"]
    assert paths.template == (
        "model.layers.{num}.linear_attn (layers 0, 1, 2); model.layers.{num}.self_attn (layer 3)"
    )


def test_a_layer_type_the_model_lacks_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(UserError, match=r"layers 0, 1, 2 of this model have no mlp") as caught:
        resolve_blocks(build("opt"), "mlp")
    assert "model.decoder.layers.0.fc2" in caught.value.options
    assert '"model.decoder.layers.{num}.' in str(caught.value)


def test_a_layer_config_reaches_any_module() -> None:
    paths = resolve_blocks(build("opt"), "mlp", {"mlp": "model.decoder.layers.{num}.fc2"})
    assert paths.names == tuple(f"model.decoder.layers.{i}.fc2" for i in range(3))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("model.layers.0.mlp", r"has no \{num\} in it"),
        ("model.layers.{num}.mpl", r"layers 0, 1, 2 of this model have nothing at .*\.mlp"),
        ("model.layers.{num}.{oops}", "have nothing at"),
    ],
)
def test_a_wrong_layer_config_is_refused_and_shows_near_names(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_blocks(build("llama"), "mlp", {"mlp": template})


def test_a_layer_config_that_fits_some_layers_of_a_hybrid_names_the_others() -> None:
    model = build("qwen3-next")
    with pytest.raises(UserError, match=r"layers 0, 1, 2 of this model have nothing at"):
        resolve_blocks(model, "self_attn", {"self_attn": "model.layers.{num}.self_attn"})


def test_an_unknown_layer_type_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="decoder_block, self_attn, mlp"):
        resolve_blocks(build("llama"), "attention")


def test_a_model_whose_config_contradicts_its_modules_is_refused() -> None:
    model = build("llama")
    model.config.num_hidden_layers = 7
    with pytest.raises(UserError, match=r"\(7\).*model\.layers \(3\)"):
        resolve_blocks(model)
