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
from tests.support.architectures import N_TOKENS, tiny_tokenizer
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
}
"""What a config is told where it has such a setting."""
OWN: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": ["full_attention"] * 4},
    "gemma4_text": {"num_kv_shared_layers": 0},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_d_head": 16, "mamba_n_heads": 4},
    "zamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "recurrent_gemma": {"block_types": ["recurrent", "recurrent", "attention"]},
}
"""What the settings of some kinds ask of each other."""


def small_config(config_class: Any) -> Any:
    """The kind's own config with small numbers in the settings it has."""
    known = config_class()
    text = known.get_text_config(decoder=True)
    chosen = {name: value for name, value in SMALL.items() if name in text.to_dict()}
    if "layer_types" in text.to_dict() and text.layer_types:
        kinds = list(dict.fromkeys(text.layer_types))
        chosen["layer_types"] = (kinds * 4)[:4]
    return type(text)(**(chosen | OWN.get(known.model_type, {})))


def built(kind: str) -> LoadedModel:
    """A tiny random model of one kind, as the program loads it."""
    config = small_config(transformers.CONFIG_MAPPING[kind])
    make: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):  # Some kinds would fill the memory, whatever is made small here.
        empty = make.from_config(config, dtype=torch.float32)
    if sum(parameter.numel() for parameter in empty.parameters()) > 30_000_000:
        raise ValueError("not small: its config has sizes of other names")
    torch.manual_seed(0)
    model = make.from_config(config, dtype=torch.float32)
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
            "gets the same text and scores.\n\n"
        )
        PAGE.write_text(head + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
