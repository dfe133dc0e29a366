"""Whether what works on a CPU works on a GPU: the parts of `bench.gpu` that say yes or no.

Memory that runs out, numbers that overflow, every tiny architecture against the CPU, and loading.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from bench.fit import Size, neutral_tokens, synthetic
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.prefix import forget_prefix
from readout_ui.errors import UserError
from readout_ui.inference.forward import frame_content, read_chat
from readout_ui.inference.generation import frame_for_answer, generate
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn
from readout_ui.models.devices import release_memory
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.vectors.layer_fits import fit_and_rate
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus
from tests.support.architectures import available
from tests.support.full_card import full_card
from tests.support.loaded_tiny import load_overflowing, load_tiny, on_device, random_vectors

if TYPE_CHECKING:
    from bench.gpu import Bench

Work = Callable[[LoadedModel], object]
TEXTS = ["I feel calm and warm.", "The harbour was empty; the boats had left."]
QUANTIZED = {"8bit": 0.05, "4bit": 0.5}
"""Largest relative difference of an activation from that of the whole, random weights."""


def kinds_of_work(n_words: int = 300) -> dict[str, Work]:
    """Everything that runs the model, as functions of it."""
    said = "I feel calm. " * n_words

    def capture(model: LoadedModel) -> object:
        forget_prefix(model)
        return read_activations(model, [said[:500], *TEXTS], CaptureSettings())

    def reading(model: LoadedModel) -> object:
        content = frame_content(model.frame, said, "assistant")
        return read_chat(model, random_vectors(model, (0, model.n_layers - 1)), content)

    def answer(model: LoadedModel) -> object:
        prompt = frame_for_answer(model, [Turn("user", said[:600])])
        return generate(
            model, prompt, Sampling(max_new_tokens=8), vectors=random_vectors(model, (0,))
        )

    return {"capture": capture, "reading": reading, "answer": answer}


def recovery(bench: Bench) -> None:
    """Real memory that runs out: the same work is done afterwards, with the memory of before."""
    if bench.device.type != "cuda":
        return
    model = bench.model
    for name, work in kinds_of_work().items():
        work(model)
        forget_prefix(model)
        before = held(bench.device)
        with full_card(bench.device):
            said = refusal(work, model)
        left = held(bench.device) - before
        bench.add(f"{name} without memory: bytes left behind", left, "times", "<= 0")
        bench.add(f"{name} without memory: one sentence", "no memory" in said, "times", ">= 1")
        print(f"         {said}")
        work(model)


def overflow(bench: Bench) -> None:
    """Activations too large for float16: a sentence, and the device works on."""
    model = replace(on_device(load_overflowing(), bench.device), context_length=None)
    for name, work in kinds_of_work().items():
        told = "overflow in float16" in refusal(work, model)
        bench.add(f"{name} beyond float16: one sentence", told, "times", ">= 1")
    bench.add(
        "the device works on", float(torch.ones(3, device=bench.device).sum()), "times", ">= 3"
    )


def equality(bench: Bench) -> None:
    """Largest relative difference to the CPU in float32, of every architecture."""
    for name in available():
        one, two = (
            read_activations(model, TEXTS, CaptureSettings()).pooled
            for model in (load_tiny(name), on_device(load_tiny(name), bench.device))
        )
        bench.add(f"difference to the CPU, {name}", difference(two, one), "x", "<= 1e-4")
    one, two = (fitted(bench, device) for device in (torch.device("cpu"), bench.device))
    bench.add("difference to the CPU, a fit", difference(two, one), "x", "<= 1e-4")


def fitted(bench: Bench, device: torch.device) -> torch.Tensor:
    """Directions of random texts, as many and as wide as the bench's, at four layers."""
    size = Size(bench.n_concepts, bench.n_texts, 4, bench.model.d_model)
    texts, tokens = synthetic(size), neutral_tokens(size)
    names, settings = ("",) * len(texts), TrainSettings()
    corpus = Corpus(names, size.groups, texts, settings, neutral_tokens=tokens, device=device)
    return fit_and_rate(corpus, texts, size.groups, None).directions


def loading(bench: Bench, make: Callable[[], LoadedModel]) -> None:
    """Load, free and load again; 8 and 4 bits where bitsandbytes is there."""
    with tempfile.TemporaryDirectory() as folder:
        save(make(), folder)
        spec = ModelSpec(folder, device=str(bench.device), dtype="bf16")
        whole, again = loaded(bench, spec), loaded(bench, spec)
        same = whole.identity == again.identity
        bench.add("the same model when loaded again", same, "times", ">= 1")
        if bench.device.type != "cuda" or not find_spec("bitsandbytes"):
            return
        for bits, bound in QUANTIZED.items():
            packed = loaded(bench, replace(spec, quantization=bits))
            smaller, other = packed.size / whole.size, difference(packed.pooled, whole.pooled)
            bench.add(f"{bits}: memory / whole weights", smaller, "x", "<= 0.8")
            bench.add(f"{bits}: difference of activations", other, "x", f"<= {bound}")


def save(model: LoadedModel, folder: str) -> None:
    """As a model's folder."""
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class Loaded:
    """What a model was that is gone again."""

    identity: str
    pooled: torch.Tensor
    """Activations of some texts, (n_texts, n_layers, d_model)."""
    size: float
    """Bytes of the device that it held."""


def loaded(bench: Bench, spec: ModelSpec) -> Loaded:
    """Load a model, put it to work and forget it, twice: libraries keep something of the first."""
    for last in (False, True):
        before = held(bench.device)
        model = load_model(spec)
        size = held(bench.device) - before
        pooled = read_activations(model, TEXTS, CaptureSettings()).pooled
        refused = [said for work in kinds_of_work().values() if (said := refusal(work, model))]
        identity = model.identity
        forget_prefix(model)
        del model
        if last:
            name, left = f"{spec.quantization} weights", held(bench.device) - before
            bench.add(f"{name}: bytes left when they are gone", left, "times", "<= 0")
            bench.add(f"{name}: kinds of work that fail", len(refused), "times", "<= 0")
            print(*refused, sep="\n")
    return Loaded(identity, pooled, size)


def held(device: torch.device) -> float:
    """Bytes of the device that are in use."""
    release_memory()
    return float(torch.cuda.memory_allocated(device)) if device.type == "cuda" else 0.0


def refusal(work: Work, model: LoadedModel) -> str:
    """The sentence that work ends with; "" where it is done."""
    try:
        work(model)
    except UserError as error:
        return str(error)
    return ""


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest relative difference of any activation, (n_texts, n_layers, d_model) both."""
    return float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max())
