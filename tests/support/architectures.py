"""Tiny random models of every architecture, and tokenizers made here; nothing is downloaded.

Deterministic: the same name gives the same weights in every process. d_model is 32 throughout.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
N_TOKENS = 384
CORPUS = (
    "I feel calm and warm, my breath is slow and even.",
    "How do you feel right now? I feel afraid, and my hands shake.",
    "The harbour was empty; the boats had left before dawn.",
    "There is a lightness in me, and nothing asks to be done.",
    "system user assistant You are a helpful assistant.",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SIZES = {
    "vocab_size": N_TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LINEAR_ATTENTION = {
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "num_hidden_layers": 4,
    "head_dim": 8,
}
GEMMA = {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
GEMMA4 = {
    "head_dim": 8,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "per_layer_config": {2: {"head_dim": 16}},  # as every published Gemma 4
    "hidden_size_per_layer_input": 4,
    "vocab_size_per_layer_input": N_TOKENS,
}
GEMMA3N = {
    "head_dim": 8,
    "num_hidden_layers": 4,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": N_TOKENS,
    "laurel_rank": 4,
    "activation_sparsity_pattern": [0.0] * 4,
    "altup_num_inputs": 2,
    "intermediate_size": [64] * 4,
}
MIXTURE = {
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}
ROPE4 = {
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
}
VISION_QWEN = {
    "depth": 4,
    "hidden_size": 32,
    "num_heads": 4,
    "intermediate_size": 64,
    "out_hidden_size": 32,
    "fullatt_block_indexes": [3],
}
VISION_SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}

_GPT2 = {
    "vocab_size": N_TOKENS,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OPT = {
    "vocab_size": N_TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "ffn_dim": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "word_embed_proj_dim": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

_RECIPES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", SIZES),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", SIZES),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", SIZES | {"head_dim": 8}),
    "qwen3.5": ("Qwen3_5TextConfig", "Qwen3_5ForCausalLM", SIZES | LINEAR_ATTENTION),
    "qwen3-next": ("Qwen3NextConfig", "Qwen3NextForCausalLM", SIZES | LINEAR_ATTENTION | MIXTURE),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", SIZES | GEMMA),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", SIZES | GEMMA),
    "gemma4": ("Gemma4TextConfig", "Gemma4ForCausalLM", SIZES | GEMMA4 | ROPE4),
    "recurrent-gemma": (
        "RecurrentGemmaConfig",
        "RecurrentGemmaForCausalLM",
        SIZES | {"lru_width": 32, "attention_window_size": 16, "head_dim": 8},
    ),
    "gemma3n": ("Gemma3nTextConfig", "Gemma3nForCausalLM", SIZES | GEMMA3N),
    "mistral": ("MistralConfig", "MistralForCausalLM", SIZES | {"head_dim": 8}),
    "mixtral": (
        "MixtralConfig",
        "MixtralForCausalLM",
        SIZES | {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "phi": ("PhiConfig", "PhiForCausalLM", SIZES | {"num_key_value_heads": 4}),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", _GPT2),
    "gpt-neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", SIZES),
    "opt": ("OPTConfig", "OPTForCausalLM", _OPT),
    "qwen2.5-vl": (
        "Qwen2_5_VLConfig",
        "Qwen2_5_VLForConditionalGeneration",
        {
            "text_config": SIZES | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
            "vision_config": VISION_QWEN,
            "image_token_id": 3,
            "video_token_id": 4,
            "vision_start_token_id": 5,
            "vision_end_token_id": 6,
        },
    ),
    "gemma3-vision": (
        "Gemma3Config",
        "Gemma3ForConditionalGeneration",
        {
            "text_config": SIZES | GEMMA,
            "vision_config": VISION_SIGLIP,
            "mm_tokens_per_image": 4,
            "image_token_index": 3,
            "boi_token_index": 4,
            "eoi_token_index": 5,
        },
    ),
}
"""Name: config class, model class, config values."""

READS_PADDING = ("recurrent-gemma",)
"""Without a cache of keys and values that others could take; only `build` knows them."""
SEVERAL_STREAMS = ("gemma3n",)
"""Their blocks return no single state per token; only `build` knows them."""
WITH_VISION = ("qwen2.5-vl", "gemma3-vision")
ONLY_TRANSFORMERS_5 = ("qwen3.5", "gemma4")
CACHE_LOSES_STATE = (
    ("qwen3-next", "recurrent-gemma") if transformers.__version__.startswith("4.") else ()
)
"""transformers 4.57's Qwen3-Next reads several tokens after a cache as if the cache were empty, and
its RecurrentGemma gives other logits with a cache than without one."""
HYBRID = ("qwen3.5", "qwen3-next")


def available() -> tuple[str, ...]:
    """Architectures that this version of transformers has."""
    known = (name for name, recipe in _RECIPES.items() if hasattr(transformers, recipe[1]))
    return tuple(name for name in known if name not in (*READS_PADDING, *SEVERAL_STREAMS))


def build(name: str, **changes: Any) -> PreTrainedModel:
    """A tiny random float32 model in eval mode; `changes` go into its (text) config."""
    config_class, model_class, values = _RECIPES[name]
    if "text_config" in values:
        values = values | {"text_config": values["text_config"] | changes}
    else:
        values = values | changes
    config = getattr(transformers, config_class)(**values)
    make: Callable[[Any], PreTrainedModel] = getattr(transformers, model_class)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(config)
        _scale_up(model)
    model.train(False).requires_grad_(False)
    return model


def tiny_tokenizer(
    chat_template: str | None = CHATML, adds_bos: bool = False
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, trained here, that can write any text; it has no pad token."""
    backend = Tokenizer.from_str(_trained(adds_bos))
    make: Callable[..., PreTrainedTokenizerFast] = PreTrainedTokenizerFast
    tokenizer = make(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


@cache
def _trained(adds_bos: bool) -> str:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
        )
    return str(backend.to_str())


def _scale_up(model: PreTrainedModel) -> None:
    """Fresh weights are so small that layers hardly differ; a wrong layer must show in a test."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(4)
