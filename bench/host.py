"""What a training costs beside the forward pass: layers that do nothing, real capture, cache, fit.

    python -m bench.host                        # this version alone
    python -m bench.host --against FOLDER       # and the one whose source is in the folder

Times are of one processor, so that other programs on the machine count little. What is still being
stored when a first training has ended counts as part of it. The older side runs with the
method `mean`, which was the default then.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.results import Row, publish
from readout_ui.activations.cache import ActivationCache
from readout_ui.models.loading import LoadedModel, ModelSpec
from readout_ui.models.prompt import frame_for
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings

SHAPES = {"32 x 4096": (32, 4096), "80 x 8192": (80, 8192)}
GOALS = {"32 x 4096": "<= 0.5", "80 x 8192": "<= 1.5"}
CONCEPTS, DESCRIPTIONS, NEUTRAL = 36, 8, 24
METHODS = ("mean", "whitened")
ROUNDS = ("warm-up", "warm-up again", "first", "retrain")
"""A system may take long over memory that it gives out for the first time: 20 times as long on the
virtual machine of the figures in the docs. So both kinds of training were done once before."""


class Passing(nn.Module):
    """A decoder block that gives what it was given."""

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> torch.Tensor:
        """Hidden states (n_texts, n_tokens, d_model), the same."""
        return hidden_states


def hollow_model(n_layers: int, d_model: int) -> LoadedModel:
    """A Llama of this shape without weights in its blocks."""
    make: Any = LlamaConfig
    config = make(
        vocab_size=1000, hidden_size=d_model, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=d_model // 64, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    model.model.layers = nn.ModuleList([Passing() for _ in range(n_layers)])
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    model.model.embed_tokens.weight.data.normal_(generator=generator)
    model.model.norm = nn.Identity()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    config.num_hidden_layers = n_layers
    tokenizer = words_as_tokens()
    given = {
        "spec": ModelSpec("hollow", device="cpu"), "name": "hollow", "revision": "",
        "model": model.eval(), "tokenizer": tokenizer, "frame": frame_for(tokenizer),
        "device": torch.device("cpu"), "dtype": torch.float32, "n_layers": n_layers,
        "d_model": d_model, "context_length": 512, "fingerprint": f"{n_layers} x {d_model}",
        "notes": (),
    }  # fmt: skip
    known = {field.name for field in fields(LoadedModel)}  # an older version has others
    make_loaded: Any = LoadedModel
    loaded: LoadedModel = make_loaded(**{k: v for k, v in given.items() if k in known})
    return loaded


def words_as_tokens() -> Any:
    """A tokenizer of 1,000 words."""
    words = {"[UNK]": 0, **{f"w{i}": i + 1 for i in range(999)}}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokenizer, unk_token="[UNK]")


def fill(folder: Path, edit: int) -> Library:
    """36 concepts of 8 texts of 24 words, the first text another one after each edit."""
    for concept in range(CONCEPTS + 1):
        neutral = concept == CONCEPTS
        texts = [
            " ".join(
                f"w{(concept * 7 + text * 131 + word * (text + 3)) % 999}" for word in range(24)
            )
            for text in range(NEUTRAL if neutral else DESCRIPTIONS)
        ]
        texts[0] += f" w{edit}" if concept == 0 else ""
        name = "_neutral" if neutral else f"concept{concept:02d}"
        (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", "utf-8")
    return Library(folder)


def measured(shape: str, method: str) -> dict[str, float]:
    """Seconds of processor and clock of the first training and of one after an edit, and memory."""
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    model, settings = hollow_model(*SHAPES[shape]), TrainSettings(method=method)
    with tempfile.TemporaryDirectory() as place:
        (folder := Path(place) / "texts").mkdir()
        for edit, part in enumerate(ROUNDS):
            if part in ("warm-up", "first"):
                cache = ActivationCache(Path(place) / part, max_bytes=2**40)
            library = fill(folder, edit)
            gc.collect()
            worked, started = time.process_time(), time.perf_counter()
            train(library, model, settings, cache)
            found[f"{part}, clock"] = time.perf_counter() - started
            cache.summary()  # waits until everything is stored
            found[part] = time.process_time() - worked
            if part == "warm-up again":
                cache.close()
    unit = 2**30 if sys.platform == "darwin" else 2**20
    found["peak memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return found


def elsewhere(source: Path, shape: str, method: str) -> dict[str, float]:
    """The same by the package in a folder, in a process of its own."""
    run = [sys.executable, __file__, "--measure", shape, method]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    end = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(end.stdout.splitlines()[-1]))


def rows_of(name: str, shape: str, found: dict[str, float]) -> list[Row]:
    """One version's figures."""
    return [
        Row(
            f"{shape}: {name}, {part}",
            number,
            "GiB" if part == "peak memory" else "s",
            GOALS[shape] if part == "retrain" and name in METHODS else "",
        )
        for part, number in found.items()
        if "warm-up" not in part
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="source of an older version")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measured(*chosen.measure)))
        return
    rows: list[Row] = []
    for shape in chosen.shape:
        older = elsewhere(chosen.against, shape, "mean") if chosen.against else {}
        rows += rows_of("older", shape, older)
        for method in METHODS:
            found = elsewhere(Path(__file__).parents[1], shape, method)
            rows += rows_of(method, shape, found)
            if older:
                ratio = found["first"] / older["first"]
                rows.append(Row(f"{shape}: {method} / older, first", ratio, "x", "<= 0.3"))
    title = f"Training without forward passes, {CONCEPTS} x {DESCRIPTIONS} texts, one thread"
    publish("host", title, rows)


if __name__ == "__main__":
    main()
