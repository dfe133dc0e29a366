"""Whether what works on a CPU works on a GPU: the parts of `bench.gpu` that say yes or no.

Memory that runs out, numbers that overflow, every tiny architecture against the CPU, and loading.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.prefix import forget_prefix
from readout_ui.errors import UserError
from readout_ui.inference.forward import frame_content, read_chat
from readout_ui.inference.generation import frame_for_answer, generate
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn
from readout_ui.models.devices import free_bytes, release_memory
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from tests.support.architectures import CHATML, available, build, tiny_tokenizer
from tests.support.loaded_tiny import load_tiny, random_vectors

if TYPE_CHECKING:
    from bench.gpu import Bench

Work = Callable[[LoadedModel], object]
TEXTS = ["I feel calm and warm.", "The harbour was empty; the boats had left."]
SAVED = {  # of the model that is loaded: big enough that packed weights differ from whole ones
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 8192,
}
QUANTIZED = {"8bit": 0.05, "4bit": 0.3}
"""Largest relative difference of an activation; measured on the CPU's whole numbers."""


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
        said = refusal(without_memory(work), model)
        gc.collect()
        left = torch.cuda.memory_allocated(bench.device) - before
        bench.add(f"{name} without memory: bytes left behind", left, "times", "<= 0")
        bench.add(f"{name} without memory: one sentence", "no memory" in said, "times", ">= 1")
        print(f"         {said}")
        work(model)


def without_memory(work: Work) -> Work:
    """The same while something else has all the card's memory but 2 MiB."""

    def crowded(model: LoadedModel) -> object:
        n_bytes = free_bytes(model.device) - 2**21
        rest = torch.empty(n_bytes, dtype=torch.uint8, device=model.device)
        torch.cuda.set_per_process_memory_fraction(1e-6, model.device)
        try:
            return work(model)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, model.device)
            del rest

    return crowded


def overflow(bench: Bench) -> None:
    """Activations too large for float16: a sentence, and the device works on."""
    model = on(bench.device, load_tiny("llama", context_length=None))
    with torch.no_grad():
        for name in ("up_proj", "gate_proj", "down_proj"):
            weight = model.model.get_submodule(f"model.layers.1.mlp.{name}").weight
            weight.mul_(20000).clamp_(-60000, 60000)  # type: ignore[operator, union-attr]
    model.model.to(torch.float16)  # type: ignore[arg-type]
    model = replace(model, dtype=torch.float16)
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
            for model in (load_tiny(name), on(bench.device, load_tiny(name)))
        )
        bench.add(f"difference to the CPU, {name}", difference(two, one), "x", "<= 1e-4")


def loading(bench: Bench) -> None:
    """Load, free and load again; 8 and 4 bits where bitsandbytes is there."""
    with tempfile.TemporaryDirectory() as folder:
        build("llama", **SAVED).to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]
        tiny_tokenizer(CHATML).save_pretrained(folder)
        spec = ModelSpec(folder, device=str(bench.device), dtype="bf16")
        first, whole, size = loaded(bench, spec)
        again, _, _ = loaded(bench, spec)
        bench.add("the same model when loaded again", first == again, "times", ">= 1")
        if bench.device.type != "cuda" or not find_spec("bitsandbytes"):
            return
        for bits, bound in QUANTIZED.items():
            _, packed, less = loaded(bench, replace(spec, quantization=bits))
            bench.add(f"{bits}: memory / whole weights", less / size, "x", "<= 0.8")
            bench.add(
                f"{bits}: difference of activations", difference(packed, whole), "x", f"<= {bound}"
            )


def loaded(bench: Bench, spec: ModelSpec) -> tuple[str, torch.Tensor, float]:
    """A model's identity, its activations and its bytes; then it is gone again."""
    before = held(bench.device)
    model = load_model(spec)
    activations = read_activations(model, TEXTS, CaptureSettings()).pooled
    identity, size = model.identity, held(bench.device) - before
    for name, work in kinds_of_work().items():
        if said := refusal(work, model):
            bench.add(f"{spec.quantization} weights: {name} fails: {said}", 1, "times", "<= 0")
    forget_prefix(model)
    del model
    bench.add(
        f"{spec.quantization} weights: bytes left", held(bench.device) - before, "times", "<= 0"
    )
    return identity, activations, size


def held(device: torch.device) -> float:
    """Bytes of the device that are in use."""
    release_memory()
    return float(torch.cuda.memory_allocated(device)) if device.type == "cuda" else 0.0


def on(device: torch.device, model: LoadedModel) -> LoadedModel:
    """The same model there."""
    model.model.to(device)  # type: ignore[arg-type]
    return replace(model, device=device)


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
