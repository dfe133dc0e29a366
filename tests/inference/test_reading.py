from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from readout_ui.errors import UserError
from readout_ui.inference.forward import frame_content, read_chat
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, adopt_model
from readout_ui.vectors.vectors import ConceptVectors

D_MODEL, N_LAYERS, CONTEXT = 16, 4, 64
WORDS = [
    "calm",
    "afraid",
    "I",
    "feel",
    ".",
    "How",
    "do",
    "you",
    "right",
    "now",
    "?",
    "<s>",
    "user",
    "assistant",
    ":",
    "the",
]
TEMPLATE = (
    "{% for m in messages %}<s> {{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<s> assistant : {% endif %}"
)

TOKENIZER: Any = PreTrainedTokenizerFast  # untyped in one of the two transformers versions
GPT2: Any = GPT2LMHeadModel
LLAMA: Any = LlamaForCausalLM


def make_tokenizer() -> Any:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["[UNK]", *WORDS])}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer: Any = TOKENIZER(
        tokenizer_object=words, unk_token="[UNK]", additional_special_tokens=["<s>"]
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(architecture: str) -> Any:
    torch.manual_seed(0)
    n_words = len(WORDS) + 1
    if architecture == "gpt2":
        return GPT2(
            GPT2Config(
                vocab_size=n_words,
                n_embd=D_MODEL,
                n_layer=N_LAYERS,
                n_head=2,
                n_positions=CONTEXT,
                bos_token_id=0,
                eos_token_id=0,
            )
        ).eval()
    return LLAMA(
        LlamaConfig(
            vocab_size=n_words,
            hidden_size=D_MODEL,
            intermediate_size=32,
            num_hidden_layers=N_LAYERS,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=CONTEXT,
        )
    ).eval()


def load(architecture: str = "llama") -> LoadedModel:
    spec = ModelSpec(model="tiny", device="cpu", dtype="fp32")
    return adopt_model(make_model(architecture), make_tokenizer(), spec)


def make_vectors(layers: tuple[int, ...] = (0, 2, 3), d_model: int = D_MODEL) -> ConceptVectors:
    random = torch.Generator().manual_seed(1)
    directions = torch.randn(3, len(layers), d_model, generator=random)
    return ConceptVectors(
        concepts=("calm", "afraid", "sad"),
        layers=layers,
        directions=directions / directions.norm(dim=-1, keepdim=True),
        center=torch.randn(len(layers), d_model, generator=random),
        neutral_mean=torch.randn(3, len(layers), generator=random),
        neutral_std=torch.rand(3, len(layers), generator=random) + 0.5,
    )


def block_outputs(model: Any, token_ids: tuple[int, ...]) -> list[torch.Tensor]:
    """Outputs of all decoder blocks, the last as hidden_states has it before the final norm."""
    last: list[torch.Tensor] = []
    decoder = model.get_decoder() if hasattr(model, "model") else model.transformer
    norm = decoder.norm if hasattr(decoder, "norm") else decoder.ln_f
    handle = norm.register_forward_pre_hook(lambda _module, inputs: last.append(inputs[0]))
    with torch.no_grad():
        out = model(torch.tensor([list(token_ids)]), output_hidden_states=True)
    handle.remove()
    return [state[0] for state in (*out.hidden_states[1:-1], last[0])]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_scores_are_those_of_the_models_own_hidden_states(architecture: str) -> None:
    model, vectors = load(architecture), make_vectors()
    framed = frame_content(model.frame, "I feel calm .", "assistant")
    readout = read_chat(model, vectors, framed)
    states = block_outputs(model.model, framed.token_ids)
    for position, layer in enumerate(vectors.layers):
        hidden, directions = states[layer], vectors.directions[:, position]
        raw = hidden @ directions.T
        centred = hidden - vectors.center[position]
        cosine = torch.nn.functional.cosine_similarity(centred[:, None], directions[None], dim=-1)
        z = (raw - vectors.neutral_mean[:, position]) / vectors.neutral_std[:, position]
        np.testing.assert_allclose(readout.raw[:, position], raw, atol=1e-5)
        np.testing.assert_allclose(readout.cosine[:, position], cosine, atol=1e-5)
        np.testing.assert_allclose(readout.z[:, position], z, atol=1e-4)


@pytest.mark.parametrize("layer_type", ["self_attn", "mlp", "input_layernorm"])
def test_other_layer_types_are_read_at_their_own_modules(layer_type: str) -> None:
    model, vectors = load(), make_vectors()
    framed = frame_content(model.frame, "I feel calm .", "assistant")
    kept: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        kept.append(output[0][0] if isinstance(output, tuple) else output[0])

    handle = getattr(model.model.model.layers[2], layer_type).register_forward_hook(keep)
    readout = read_chat(model, replace(vectors, layer_type=layer_type), framed)
    handle.remove()
    np.testing.assert_allclose(
        readout.raw[:, 1], (kept[0] @ vectors.directions[:, 1].T).detach(), atol=1e-5
    )


def test_a_text_the_assistant_says_stands_in_the_frame_of_the_training() -> None:
    frame = load().frame
    trained = frame.frame("I feel calm .", 256)
    read = frame_content(frame, "  I feel calm .\n", "assistant")
    assert read.token_ids == trained.token_ids
    content = range(trained.content_start, trained.content_stop)
    assert [i for i, role in enumerate(read.roles) if role == "assistant"] == list(content)


def test_a_text_the_user_says_is_the_users() -> None:
    framed = frame_content(load().frame, "I feel calm .", "user")
    assert "user" in framed.roles
    assert "assistant" not in framed.roles


def test_raw_text_goes_in_without_a_template() -> None:
    model = load()
    framed = frame_content(model.frame, "I feel calm .", "raw")
    assert framed.token_ids == tuple(model.tokenizer("I feel calm .").input_ids)


def test_a_chat_keeps_all_turns_and_their_speakers() -> None:
    turns = [Turn("user", "How are you ?"), Turn("assistant", "calm"), Turn("user", "now ?")]
    readout = read_chat(load(), make_vectors(), frame_content(load().frame, turns, "chat"))
    said = [t for t, role in zip(readout.tokens, readout.roles, strict=True) if role == "assistant"]
    assert said == ["calm"]
    assert readout.roles.count("user") == 6


@pytest.mark.parametrize("content", ["", " \n"])
@pytest.mark.parametrize("mode", ["assistant", "user", "raw"])
def test_nothing_to_read_is_said(content: str, mode: str) -> None:
    with pytest.raises(UserError, match="nothing to read"):
        frame_content(load().frame, content, mode)


def test_an_unknown_way_of_reading_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="assistant, user, raw, chat"):
        frame_content(load().frame, "calm", "poem")


def test_a_prompt_beyond_the_context_is_refused_with_both_lengths() -> None:
    framed = frame_content(load().frame, "calm " * 80, "raw")
    with pytest.raises(UserError, match=r"80 tokens, tiny takes 64; shorten it by 16"):
        read_chat(load(), make_vectors(), framed)


def test_a_prompt_that_just_fits_is_read() -> None:
    framed = frame_content(load().frame, "calm " * CONTEXT, "raw")
    assert len(read_chat(load(), make_vectors(), framed).tokens) == CONTEXT


def test_vectors_of_another_width_are_refused_with_both_widths() -> None:
    framed = frame_content(load().frame, "calm", "raw")
    with pytest.raises(UserError, match="d_model 24, tiny has 16"):
        read_chat(load(), make_vectors(d_model=24), framed)


def test_vectors_of_a_deeper_model_are_refused_with_the_layer() -> None:
    framed = frame_content(load().frame, "calm", "raw")
    with pytest.raises(UserError, match="layer 9, tiny has 4 layers"):
        read_chat(load(), make_vectors(layers=(0, 9)), framed)


def test_reading_leaves_no_hook_and_no_mode_behind_even_when_it_fails() -> None:
    model = load()
    model.model.train()
    broken = replace(model, device=torch.device("meta"))
    framed = frame_content(model.frame, "calm", "raw")
    with pytest.raises((RuntimeError, NotImplementedError)):
        read_chat(broken, make_vectors(), framed)
    assert not any(module._forward_hooks for module in model.model.modules())
    assert model.model.training


def test_reading_twice_gives_the_same_numbers() -> None:
    model, vectors = load(), make_vectors()
    framed = frame_content(model.frame, "I feel calm .", "assistant")
    first, second = (read_chat(model, vectors, framed) for _ in range(2))
    np.testing.assert_array_equal(first.raw, second.raw)
