"""Kept runs of two tiny models whose tokenizers cut a text differently, for comparisons."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from tests.conftest import SMALL_LIBRARY
from tests.support.architectures import CHATML, build, tiny_tokenizer


def write_library(folder: Path) -> Path:
    """The small library as files."""
    folder.mkdir(exist_ok=True)
    for name, texts in SMALL_LIBRARY.items():
        (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return folder


def save_spelling_model(folder: Path) -> Path:
    """A tiny Qwen2 of which every token is one byte."""
    tokenizer = tiny_tokenizer(CHATML)
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    parts["model"]["merges"] = []
    spelling = type(tokenizer)(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)),
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        clean_up_tokenization_spaces=False,
    )
    spelling.chat_template = CHATML
    spelling.save_pretrained(folder)
    build("qwen2").save_pretrained(folder)
    return folder


def train_once(studio: Studio) -> str:
    """Load the model, train, and say which run came out."""
    studio.load_model().result()
    return studio.start_training().result().id


def train_other_model(library: Path, runs: Path, model: Path) -> str:
    """A run of another model in the same folder; the run in use stays as it is."""
    studio = Studio(StudioOptions(library, runs, model=str(model), report=False))
    used = studio.runs.current()
    try:
        return train_once(studio)
    finally:
        if used is not None:
            studio.runs.set_current(used.id)
        studio.close()
