"""A model that would be read wrongly is refused when it is loaded, with the reason."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from readout_ui import runtime
from readout_ui.activations.extract import extract_activations
from readout_ui.activations.hooks import recording
from readout_ui.errors import UserError
from readout_ui.inference.forward import read_chat
from readout_ui.inference.generation import Generated, frame_for_answer, generate, generate_batch
from readout_ui.inference.sampling import Sampling
from readout_ui.models.blocks import resolve_blocks
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, adopt_model
from readout_ui.models.trial import turning_points
from tests.support.architectures import N_TOKENS, build, tiny_tokenizer
from tests.support.loaded_tiny import load_tiny, random_vectors

IDS = torch.arange(3, 15)[None]


class Twice(nn.ModuleList):
    """Blocks that run again behind the last, as in looped transformers."""

    def __iter__(self) -> Iterator[nn.Module]:
        return chain(super().__iter__(), super().__iter__())


class Reversed(nn.ModuleList):
    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self[number] for number in reversed(range(len(self)))])


class Skipping(nn.ModuleList):
    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self[0], self[2]])


def with_blocks(kind: type[nn.ModuleList]) -> PreTrainedModel:
    model: Any = build("llama")
    model.model.layers = kind(list(model.model.layers))
    return model  # type: ignore[no-any-return]


def made(name: str, **settings: Any) -> PreTrainedModel:
    """A tiny model of a kind that is no recipe of the other tests."""
    sizes = {"vocab_size": N_TOKENS, "hidden_size": 32, "num_attention_heads": 4}
    config = transformers.AutoConfig.for_model(name, **(sizes | settings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        make: Any = transformers.AutoModelForCausalLM.from_config
        model = make(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(4)
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def prophetnet() -> PreTrainedModel:
    layers = {"num_decoder_layers": 2, "num_encoder_layers": 2, "num_decoder_attention_heads": 4}
    return made("prophetnet", decoder_ffn_dim=64, is_encoder_decoder=False, **layers)


def bert() -> PreTrainedModel:
    return made("bert", num_hidden_layers=2, intermediate_size=64)


def gpt() -> PreTrainedModel:
    return made("openai-gpt", n_embd=32, n_layer=2, n_head=4, n_positions=512)


def moshi() -> PreTrainedModel:
    return made("moshi", num_hidden_layers=2, ffn_dim=64, sliding_window=16)


def reformer(*layers: str, chunk: int = 64) -> PreTrainedModel:
    """Its attention sorts the tokens of texts longer than a chunk into buckets."""
    positions = {"axial_pos_shape": [32, 32], "axial_pos_embds_dim": [8, 24]}
    chunks = {"lsh_attn_chunk_length": chunk, "local_attn_chunk_length": chunk}
    sizes = {"attention_head_size": 8, "feed_forward_size": 64, "max_position_embeddings": 1024}
    kinds = {"attn_layers": list(layers), "is_decoder": True, "num_hidden_layers": len(layers)}
    return made("reformer", hash_seed=0, **positions, **chunks, **sizes, **kinds)


def adopted(model: PreTrainedModel) -> LoadedModel:
    return adopt_model(model, tiny_tokenizer(), ModelSpec("tiny", device="cpu", dtype="fp32"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: with_blocks(Twice), r"do not run once each, .*: 0, 1, 2, 0, 1, 2;"),
        (lambda: with_blocks(Reversed), "do not run once each, .*: 2, 1, 0;"),
        (lambda: with_blocks(Skipping), "do not run once each, .*: 0, 2;"),
        (prophetnet, r"ProphetNet.* return \(1, 72, 32\) where one state was expected for .* \(24"),
        (lambda: reformer("lsh", "lsh"), r"Reformer.* return \(1, 128, 32\) where one state was"),
        (bert, "BertLMHeadModel reads what comes after a token too, so it is no causal"),
    ],
    ids=["twice", "reversed", "skipping", "several streams in one", "hashed", "both directions"],
)
def test_a_model_that_would_be_read_wrongly_is_refused_at_load(
    make: Callable[[], PreTrainedModel], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        adopted(make())


def test_the_trial_leaves_nothing_on_the_model() -> None:
    loaded = adopted(build("llama"))
    assert not loaded.no_answers
    assert not any(module._forward_hooks for module in loaded.model.modules())
    assert loaded.model.generation_config is not None


def asked(model: LoadedModel, n_new: int) -> Generated:
    prompt = frame_for_answer(model, [Turn("user", "Go")])
    sampling = Sampling(temperature=0, max_new_tokens=n_new)
    return generate(model, prompt, sampling, vectors=random_vectors(model, (0, 1)))


def test_a_model_without_a_cache_is_read_and_says_why_it_is_not_asked() -> None:
    if transformers.__version__.startswith("4."):
        with pytest.raises(UserError, match=r"cannot run on a few tokens \(.*'use_cache'"):
            adopted(gpt())
        return
    loaded = adopted(gpt())
    reason = "each new token is read together with the whole text again"
    assert any(reason in note and "can be read but not asked" in note for note in loaded.notes)
    vectors = random_vectors(loaded, (0, 1))
    assert read_chat(loaded, vectors, loaded.frame.frame_raw("I feel calm.")).raw.any()
    with pytest.raises(UserError, match=f"{reason}.*would be wrong; read finished texts"):
        asked(loaded, 2)


def test_a_cache_that_forgets_what_a_whole_text_sees_is_refused_behind_its_window() -> None:
    loaded = adopted(moshi())
    n_prompt = len(frame_for_answer(loaded, [Turn("user", "Go")]).token_ids)
    answer = asked(loaded, 16 - n_prompt)
    offline = read_chat(loaded, random_vectors(loaded, (0, 1)), answer.whole)
    assert answer.reading is not None
    np.testing.assert_allclose(answer.reading.raw, offline.raw, rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match=r"behind its cache than in a whole text of 18 tokens"):
        asked(loaded, 17 - n_prompt)


def test_a_window_that_a_model_masks_as_well_is_no_reason_to_refuse() -> None:
    loaded = adopted(build("gemma3"))
    answer = asked(loaded, 12)
    offline = read_chat(loaded, random_vectors(loaded, (0, 1)), answer.whole)
    assert answer.reading is not None
    assert len(answer.reading.tokens) > 16
    np.testing.assert_allclose(answer.reading.raw, offline.raw, rtol=1e-3, atol=1e-3)


def test_prompts_go_one_by_one_where_generate_does_not_say_what_is_padding() -> None:
    """Reformer leaves the mask out there; a forward pass that is given one would be right."""
    loaded = adopted(reformer("local", "local", chunk=300))
    sampling = Sampling(temperature=0, max_new_tokens=3)
    asked = [Turn("user", text) for text in ("Go", "I feel afraid, and my hands shake.")]
    prompts = [frame_for_answer(loaded, [turn]) for turn in asked]
    vectors = random_vectors(loaded, (0, 1))
    rows = generate_batch(loaded, prompts, sampling, vectors=vectors)
    for prompt, row in zip(prompts, rows, strict=True):
        alone = generate(loaded, prompt, sampling, vectors=vectors)
        assert row.token_ids == alone.token_ids
        assert row.reading is not None
        offline = read_chat(loaded, vectors, row.whole)
        np.testing.assert_allclose(row.reading.raw, offline.raw, rtol=1e-3, atol=1e-4)


def test_a_text_of_other_states_than_tokens_is_refused() -> None:
    """Beyond the chunk that the trial at load goes to."""
    loaded = adopted(reformer("local", "local", chunk=300))
    framed = loaded.frame.frame_raw("I feel calm. " * 80)
    assert len(framed.token_ids) > 300
    with pytest.raises(UserError, match=r"makes 600 states of \d+ tokens; read shorter texts"):
        read_chat(loaded, random_vectors(loaded, (0, 1)), framed)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sliding_window": 16}, [16]),
        ({"index_topk": 512, "index_n_heads": 64}, [512]),
        ({"mamba_chunk_size": 128, "chunk_size": 64}, [64, 128]),
        ({"layer_window_size": 32, "max_window_layers": 28, "sliding_window": None}, [32]),
        ({"use_window": True, "local_attention": 128}, [128]),
    ],
)
def test_lengths_at_which_a_model_computes_otherwise_are_found_by_name(
    settings: dict[str, Any], expected: list[int]
) -> None:
    model = build("llama")
    for name, value in settings.items():
        setattr(model.config, name, value)
    assert turning_points(model) == expected


@pytest.mark.parametrize("kind", [Twice, Skipping])
def test_no_reader_takes_a_pass_whose_modules_ran_otherwise(kind: type[nn.ModuleList]) -> None:
    model = with_blocks(kind)
    paths = resolve_blocks(model, "mlp")
    model.model.layers[0].mlp = model.model.layers[1].mlp if kind is Twice else nn.Identity()
    expected = r"model.layers.1.mlp: the model did not run" if kind is Skipping else "several times"
    reading: Any = recording(model, paths, lambda _layer, _states: None)
    with pytest.raises(UserError, match=expected), torch.inference_mode(), reading:
        model(IDS, use_cache=False)


def watched(model: PreTrainedModel, layers: Sequence[int]) -> Any:
    vectors = torch.ones(len(layers), 1, 32)
    readout = runtime.ReadoutVectors(("calm",), tuple(layers), vectors, "model.layers.{num}", {})
    with torch.inference_mode(), runtime.watching(model, readout) as watch:
        model(IDS, use_cache=False)
    return watch.scores()


@pytest.mark.parametrize("layers", [(0, 2), (1,), (0, 1, 2)])
def test_watching_refuses_modules_that_run_twice_whatever_layers_it_has(
    layers: tuple[int, ...],
) -> None:
    assert watched(build("llama"), layers).shape == (1, IDS.shape[1], len(layers), 1)
    with pytest.raises(UserError, match=r"model.layers.\d: the model runs its modules several"):
        watched(with_blocks(Twice), layers)


def test_of_several_residual_streams_only_what_is_one_state_per_token_is_read() -> None:
    loaded = load_tiny("gemma3n")
    states: list[torch.Tensor] = []
    hook = loaded.model.get_submodule("model.layers.1.mlp").register_forward_hook(
        lambda _module, _inputs, output: states.append(output[0])
    )
    framed = loaded.frame.frame("I am calm.", 256)
    with torch.inference_mode(), hook:
        loaded.model(torch.tensor([framed.token_ids]), use_cache=False)
    own = states[0][framed.content_start : framed.content_stop].mean(dim=0)
    settings: dict[str, Any] = {"frame": "chat", "read": "content_mean"}
    found = extract_activations(["I am calm."], loaded, layer_type="mlp", **settings)[0, 1]
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=r"several residual streams .* such as mlp or self_attn"):
        extract_activations(["I am calm."], loaded, **settings)
    vectors = replace(random_vectors(loaded), layer_type="mlp")
    prompt = frame_for_answer(loaded, [Turn("user", "Go")])
    answer = generate(loaded, prompt, Sampling(temperature=0, max_new_tokens=6), vectors=vectors)
    assert answer.reading is not None
    offline = read_chat(loaded, vectors, answer.whole)
    np.testing.assert_allclose(answer.reading.raw, offline.raw, rtol=1e-3, atol=1e-4)


def test_residual_streams_in_one_wide_state_are_refused_as_such() -> None:
    """As Qwen4-Exp's hyper-connections return them."""
    model: Any = build("llama")
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: torch.cat([output] * 2, -1))
        layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0][..., :32], *inputs[1:]))
    model.model.norm.register_forward_pre_hook(lambda _module, inputs: (inputs[0][..., :32],))
    loaded = adopted(model)
    settings: dict[str, Any] = {"frame": "chat", "read": "content_mean"}
    expected = r"several residual streams \(.*64\) where one state of 32 numbers per token .* mlp"
    with pytest.raises(UserError, match=expected):
        extract_activations(["I am calm."], loaded, **settings)
    assert extract_activations(["I am calm."], loaded, layer_type="mlp", **settings).any()


@pytest.mark.parametrize("name", ["num_hidden_layers", "hidden_size"])
def test_a_config_without_the_sizes_of_one_text_model_is_named(name: str) -> None:
    model: Any = build("llama")
    object.__setattr__(model.config, name, None)
    with pytest.raises(UserError, match=rf"\(LlamaConfig\) says no {name}, so which of its"):
        adopted(model)


def test_a_model_without_one_table_of_tokens_is_refused() -> None:
    """As MusicGen, which takes four codes of sound at a time."""
    model: Any = build("llama")
    model.get_input_embeddings = lambda: nn.ModuleList([nn.Embedding(4, 32)] * 2)
    with pytest.raises(UserError, match=r"LlamaForCausalLM has no token table; choose"):
        adopted(model)


def test_shared_keys_are_read_rightly_or_the_version_is_named() -> None:
    if transformers.__version__.startswith("4."):  # without a cache it shares none
        with pytest.raises(UserError, match=rf"\({transformers.__version__}\) reads the same text"):
            load_tiny("gemma3n", num_kv_shared_layers=2)
    else:
        assert not load_tiny("gemma3n", num_kv_shared_layers=2).no_answers


MIXED: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3], "mamba_chunk_size": 8},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 64,
        "mamba_chunk_size": 8,
    },
}
"""Mamba's blocks beside attention, with scans shorter than a prompt."""


@pytest.mark.parametrize("kind", MIXED)
def test_answers_of_blocks_that_keep_a_state_read_as_the_finished_text(kind: str) -> None:
    sizes = {"num_hidden_layers": 4, "num_key_value_heads": 2, "intermediate_size": 64}
    scan = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
    loaded = adopted(made(kind, **sizes, **scan, **MIXED[kind]))
    vectors = random_vectors(loaded, layers=(0, 3))
    prompts = [
        frame_for_answer(loaded, [Turn("user", text)])
        for text in ("Go", "I feel afraid, and my hands shake. What?")
    ]
    greedy = Sampling(temperature=0, max_new_tokens=12)
    rows = generate_batch(loaded, prompts, greedy, vectors=vectors)
    for prompt, row in zip(prompts, rows, strict=True):
        alone = generate(loaded, prompt, greedy, vectors=vectors)
        assert len(alone.token_ids) > 1
        assert row.token_ids == alone.token_ids
        for answer in (alone, row):
            assert answer.reading is not None
            raw = read_chat(loaded, vectors, answer.whole).raw
            reach = 1e-3 * float(np.abs(raw).max())
            np.testing.assert_allclose(answer.reading.raw, raw, atol=reach, rtol=0)


def test_positions_that_the_tokens_do_not_have_are_refused() -> None:
    loaded = load_tiny()

    def shift(_module: Any, args: Any, kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[1] == 1:
            kwargs["position_ids"] = kwargs["position_ids"] + 1
        return args, kwargs

    handle = loaded.model.register_forward_pre_hook(shift, with_kwargs=True)
    try:
        with pytest.raises(UserError, match="fed positions that its tokens do not have"):
            asked(loaded, 3)
    finally:
        handle.remove()
    assert asked(loaded, 3).reading is not None
