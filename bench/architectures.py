"""Every causal model that transformers knows, built tiny and random: which can be read, and how.

`make architectures` runs it and writes `docs/architectures.md`; it is no part of `make test`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from readout_ui.errors import UserError
from readout_ui.inference.forward import read_chat
from readout_ui.inference.generation import frame_for_answer, generate, generate_batch
from readout_ui.inference.reading import Reading
from readout_ui.inference.sampling import Sampling
from readout_ui.models.blocks import resolve_blocks
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, adopt_model
from tests.support.architectures import N_TOKENS, ROPE4, VISION_SIGLIP, tiny_tokenizer
from tests.support.loaded_tiny import random_vectors

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
TOLERANCE = 2e-3
SMALL: dict[str, Any] = {
    "vocab_size": N_TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 512,
    "d_model": 32,
    "n_heads": 4,
    "n_layers": 4,
    "ffn_dim": 64,
    "num_layers": 4,
    "num_heads": 4,
    "word_embed_proj_dim": 32,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 16,
    "query_pre_attn_scalar": 8,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "state_size": 8,
    "lru_width": 32,
    "attention_window_size": 16,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "attention_hidden_size": 32,
    "mamba_d_state": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "num_experts_per_token": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "rotary_dim": 8,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "sliding_window_size": 16,
    "unpadded_vocab_size": N_TOKENS,
    "vocab_size_per_layer_input": N_TOKENS,
    "hidden_size_per_layer_input": 8,
    "laurel_rank": 4,
    "altup_num_inputs": 2,
    "ffn_hidden_size": 64,
    "expert_ffn_hidden_size": 16,
    "shared_experts_intermediate_size": 16,
    "zero_expert_num": 2,
    "moe_topk": 2,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "emb_dim": 32,
    "max_seq_len": 512,
    "num_blocks": 4,
    "index_head_dim": 8,
    "index_n_heads": 64,  # of few heads, tokens tie at 0, and which of them count is left to chance
    "index_topk": 8,
    "router_hidden_size": 16,
    "feed_forward_size": 64,
    "attention_head_size": 8,
    "num_dense_layers": 1,
    "ngram_vocab_size_base": 64,
    "make_ngram_vocab_size_divisible_by": 8,
    "hc_count": 2,
    "hc_lowrank": 4,
    "ple_embed_dim": 8,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
}
"""What a config is told where it has such a setting."""
BYTES = {
    "vocab_size": N_TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 64,
}
"""Each of the models that the Byte Latent Transformer is made of."""
OWN: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "gemma3n_text": {
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.0] * 4,
        "intermediate_size": [64] * 4,
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "inkling2_loop_text": {
        "n_layers_per_attn_res_block": 2,
        "loop_layer_index_start": 2,
        "loop_layer_index_end": 4,
    },
    "zaya": {"num_experts_per_tok": 1},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "inkling2_text": {"n_layers_per_attn_res_block": 2},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh"] * 2,
        "axial_pos_shape": [16, 32],
        "axial_pos_embds_dim": [8, 24],
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
    },
    "git": {"vision_config": VISION_SIGLIP},
    "dots3_note_text": {
        "layer_types": ["indexed_attention", "sliding_attention"] * 2,
        "mlp_layer_types": ["dense"] + ["sparse"] * 3,
        "head_dim": 16,
        "per_layer_config": {
            layer: {"num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 16}
            for layer in (1, 3)
        },
    },
    "mllama": {"cross_attention_layers": [1, 3]},
    "xmod": {"default_language": "en_XX"},
    "bailing_hybrid": {"linear_head_dim": 8, "linear_num_heads": 4, "num_expert_group": 1},
    "phi4_multimodal": {
        "vision_config": VISION_SIGLIP | {"crop_size": 28},
        "audio_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_blocks": 2,
            "num_attention_heads": 4,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 32,
        },
    },
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        "patcher_config": BYTES,
        "encoder_config": BYTES | {"hidden_size_global": 32},
        "decoder_config": BYTES | {"hidden_size_global": 32},
        "global_config": BYTES,
    },
    "cohere_compass_text": ROPE4,
    "hrm_text": {"num_layers_per_stack": 4, "num_hidden_layers": 32},
    "gemma4_text": {"num_kv_shared_layers": 0},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_d_head": 16, "mamba_n_heads": 4},
    "zamba": {
        "num_hidden_layers": 12,
        "attn_layer_period": 6,
        "attn_layer_offset": 4,
        "use_mamba_kernels": False,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "mamba_dt_rank": 4,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "recurrent", "attention"]},
}
"""What the settings of some kinds ask of each other."""


CANNOT = dict.fromkeys(
    ("gemma4_assistant", "gemma4_unified_assistant"),
    "drafts for another model, whose keys it reads; it has no text of its own",
)
"""Why a kind is not tried."""


def small_config(config_class: Any) -> Any:
    """The kind's own config with small numbers in the settings it has."""
    known = config_class()
    text = known.get_text_config(decoder=True)
    chosen = {name: value for name, value in SMALL.items() if name in text.to_dict()}
    if "encoder_layers" in chosen:  # the decoder's are missing where a config is asked for it
        chosen |= {name: SMALL[name] for name in SMALL if name.startswith("decoder_")}
    if "kv_lora_rank" in chosen:  # latent attention has as many keys as queries
        chosen["num_key_value_heads"] = chosen["num_attention_heads"]
    if "layer_types" in text.to_dict() and text.layer_types:
        kinds = list(dict.fromkeys(text.layer_types))
        chosen["layer_types"] = (kinds * 4)[:4]
    own = OWN.get(known.model_type, OWN.get(text.model_type, {}))
    return type(text)(**(chosen | own))


def class_of(kind: str, config: Any) -> Any:
    """The kind's class, or that of its text model where the kind also takes images or sound."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    )

    named = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind])
    known: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    return known.get(type(config), named)


def built(kind: str) -> LoadedModel:
    """A tiny random model of one kind, as the program loads it."""
    config = small_config(transformers.CONFIG_MAPPING[kind])
    make = class_of(kind, config)
    with torch.device("meta"):  # Some kinds would fill the memory, whatever is made small here.
        empty = make._from_config(config, dtype=torch.float32)
    if sum(parameter.numel() for parameter in empty.parameters()) > 30_000_000:
        raise ValueError("not small: its config has sizes of other names")
    torch.manual_seed(0)
    model = make._from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(4)
    model.eval().requires_grad_(False)
    return adopt_model(model, tiny_tokenizer(), ModelSpec(kind, device="cpu", dtype="fp32"))


def differ(first: Reading | None, second: Reading | None) -> bool:
    """Whether two readings of the same tokens differ by more than rounding."""
    assert first is not None
    assert second is not None
    reach = float(np.abs(second.raw).max())
    return not np.allclose(first.raw, second.raw, atol=TOLERANCE * reach, rtol=0)


def checked(kind: str) -> tuple[str, str, str, str]:
    """One row of the table: kind, its blocks, what an answer's scores are, what padding does."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if kind in CANNOT:
        return kind, f"not tried: it {CANNOT[kind]}", "", ""
    try:
        model = built(kind)
    except UserError as error:
        return kind, f"refused: {error}", "", ""
    except Exception as error:  # noqa: BLE001  every kind fails in its own way
        return kind, f"not built here ({_short(error)})", "", ""
    steps: list[Callable[[LoadedModel], str]] = [_blocks, _answer, _padded]
    row = [kind]
    for step in steps:
        try:
            row.append(step(model))
        except UserError as error:
            row.append(f"refused: {error}")
        except Exception as error:  # noqa: BLE001
            row.append(f"error ({_short(error)})")
    return row[0], row[1], row[2], row[3]


def _blocks(model: LoadedModel) -> str:
    return f"`{resolve_blocks(model.model).template}`"


GREEDY = Sampling(temperature=0, max_new_tokens=6)


def _answer(model: LoadedModel) -> str:
    vectors = random_vectors(model, layers=(0, model.n_layers - 1))
    made = generate(model, _asked(model, "Go"), GREEDY, vectors=vectors)
    wrong = differ(made.reading, read_chat(model, vectors, made.whole))
    return "WRONG" if wrong else "as read afterwards"


def _padded(model: LoadedModel) -> str:
    vectors = random_vectors(model, layers=(0, model.n_layers - 1))
    prompts = [_asked(model, text) for text in ("Go", "I feel afraid, and my hands shake. What?")]
    rows = generate_batch(model, prompts, GREEDY, vectors=vectors)
    alone = [generate(model, prompt, GREEDY, vectors=vectors) for prompt in prompts]
    same = all(
        row.token_ids == one.token_ids and not differ(row.reading, one.reading)
        for row, one in zip(rows, alone, strict=True)
    )
    return "as alone" if same else "WRONG"


def _asked(model: LoadedModel, text: str) -> Any:
    return frame_for_answer(model, [Turn("user", text)])


def _short(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:100]}".replace("|", "/")


def table(kinds: list[str]) -> Iterator[str]:
    """The rows, as Markdown."""
    yield "| kind | blocks | scores of an answer | rows of a left-padded batch |"
    yield "|---|---|---|---|"
    with ProcessPoolExecutor(2) as processes:
        for row in processes.map(checked, kinds):
            line = "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |"
            print(line, flush=True)
            yield line


def main() -> None:
    """Check all kinds, or those that are named, and write the page for all."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    named = sys.argv[1:]
    rows = list(table(named or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)))
    if not named:
        head = (
            "# Architectures\n\nEvery causal model of transformers "
            f"{transformers.__version__}, tiny and random, by `make architectures`.\n"
            '"as read afterwards": the scores of every token of an answer equal those of one '
            'pass over the\nfinished text. "as alone": a shorter prompt beside a longer one '
            "gets the same text and scores.\n"
            "A refusal is what `load_model` says, or what a reading or an answer says. Encoders "
            "(BERT and its like) are\ntried as if they were decoders; they and the decoders of an "
            "encoder-decoder are also refused by their config\nwhen a folder is loaded. "
            '"not built here": this script makes no small config for the kind.\n\n'
        )
        PAGE.write_text(head + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
