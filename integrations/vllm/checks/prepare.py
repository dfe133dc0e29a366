"""Write what the tests serve: a tiny random Llama, and a real export that was trained on it.

Run with the project's own Python, which vLLM's venv is not: `python prepare.py FOLDER`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import readout_ui as ro
from tests.support.architectures import CHATML, tiny_tokenizer

CONCEPTS = ("afraid", "angry", "calm", "happy", "sad", "_baseline")


def write_model(folder: Path) -> None:
    """Eight blocks of a width that vLLM's CPU attention takes; KV heads can be split in two."""
    tokenizer = tiny_tokenizer(CHATML)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:  # random weights as small as usual make every token alike
                weight.mul_(3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(folder: Path) -> None:
    """Model in `model`, export in `export`."""
    write_model(folder / "model")
    texts = folder / "descriptions"
    texts.mkdir(exist_ok=True)
    for name in CONCEPTS:
        shutil.copy(Path("descriptions") / f"{name}.txt", texts)
    model = ro.load_model(str(folder / "model"))
    run = ro.train(ro.Library(texts), model, ro.TrainSettings(layers="1,4,7"))
    run.export(folder / "export")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
