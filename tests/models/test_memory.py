"""Memory that runs out and numbers that overflow: one sentence, and nothing is left behind."""

import dataclasses
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from readout_ui.activations.batches import tokens_beside_a_text
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.prefix import forget_prefix
from readout_ui.app.jobs import JobState, Worker
from readout_ui.app.read.compare import model_of
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.inference.forward import frame_content, perplexity, read_chat
from readout_ui.inference.generation import frame_for_answer, generate_batch
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering import steered
from readout_ui.inference.steering_setup import Steer, SteeringSetup
from readout_ui.models import devices
from readout_ui.models.chat_template import Turn
from readout_ui.models.devices import choose_device, choose_dtype, free_bytes, wrong_torch
from readout_ui.models.loading import LoadedModel
from readout_ui.models.weights import weight_bytes, weights_fingerprint
from tests.support.loaded_tiny import load_tiny, random_readout, random_vectors
from tests.support.pretend_gpu import PretendGpu, on_pretend_gpu
from tests.support.tiny_model import save_tiny_model

LONG = "I feel calm. The harbour was empty. " * 20
GREEDY = Sampling(max_new_tokens=4, temperature=0.0)


def read(model: LoadedModel) -> Any:
    return read_chat(model, random_vectors(model), frame_content(model.frame, LONG, "assistant")).z


def surprise(model: LoadedModel) -> Any:
    ids = frame_content(model.frame, LONG, "assistant").token_ids
    return np.array([perplexity(model, ids, len(ids) // 2)])


def speak(model: LoadedModel) -> Any:
    prompts = [frame_for_answer(model, [Turn("user", text)]) for text in (LONG[:400], LONG[:300])]
    made = generate_batch(model, prompts, GREEDY, vectors=random_vectors(model))
    return np.concatenate([one.reading.raw for one in made if one.reading])


def capture(model: LoadedModel) -> Any:
    forget_prefix(model)
    texts = [LONG[: 40 + i] for i in range(8)]
    return read_activations(model, texts, CaptureSettings()).pooled.numpy()


WORK = [read, surprise, speak, capture]


@pytest.mark.parametrize("work", WORK)
def test_no_memory_is_one_sentence_and_nothing_stays(work: Callable[[LoadedModel], Any]) -> None:
    with PretendGpu() as gpu:
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        before = gpu.used
        gpu.capacity = before + 2**13
        with pytest.raises(
            UserError, match=r"no memory for .* more was needed, .* are free; "
        ) as no:
            work(model)
        gc.collect()
        assert gpu.used == before  # although the error is still held
        assert no.value.__context__ is None


@pytest.mark.parametrize("work", WORK)
def test_where_halving_helps_the_numbers_are_the_same(work: Callable[[LoadedModel], Any]) -> None:
    expected = work(load_tiny(context_length=None))
    with PretendGpu() as gpu:
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        before = gpu.used
        gpu.peak = 0
        work(model)
        forget_prefix(model)
        gpu.capacity = before + int(0.75 * (gpu.peak - before))
        np.testing.assert_allclose(work(model), expected, rtol=1e-3, atol=2e-4)
        forget_prefix(model)
        gc.collect()
        assert gpu.used == before


def test_a_failed_job_keeps_no_tensor() -> None:
    with PretendGpu() as gpu:
        worker = Worker()

        def work(_report: object) -> None:
            held = gpu.placed(torch.zeros(2**10), "cuda:0")
            try:
                raise ValueError("inside")
            except ValueError as error:
                raise KeyError(len(held)) from error

        job = worker.submit("read", "Reading", work)
        with pytest.raises(KeyError):
            job.result()
        gc.collect()
        assert (job.view().state, gpu.used) == (JobState.FAILED, 0)
        worker.close()


def test_a_lost_device_saves_once_and_refuses_all_further_work() -> None:
    saved: list[str] = []
    worker = Worker(save=lambda: saved.append("saved"))

    def lost(_report: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with...")

    for work in (lost, lambda _report: saved.append("more work")):
        job = worker.submit("read", "Reading", work)
        with pytest.raises(UserError, match="restart Readout Studio"):
            job.result()
    assert saved == ["saved"]
    worker.close()


BREAKS_THE_CARD = """
import torch
from readout_ui.app.jobs import Worker
from readout_ui.errors import UserError

def beyond_the_table(_report):
    table = torch.nn.Embedding(10, 4, device="cuda")
    table(torch.tensor([99], device="cuda"))
    torch.cuda.synchronize()

saved = []
worker = Worker(save=lambda: saved.append("saved"))
for work in (beyond_the_table, lambda _report: saved.append("more work")):
    try:
        worker.submit("read", "Reading", work).result()
    except UserError as error:
        print(error, saved)
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_card_that_stopped_asks_for_a_restart() -> None:
    run = [sys.executable, "-c", BREAKS_THE_CARD]  # the card is lost to the whole process
    said = subprocess.run(run, capture_output=True, text=True, check=False).stdout.splitlines()
    assert len(said) == 2
    assert all("restart Readout Studio" in line and line.endswith("['saved']") for line in said)


# Numbers


@pytest.fixture
def overflowing() -> LoadedModel:
    """A model whose activations are too large for float16 from its second layer on."""
    model = load_tiny()
    with torch.no_grad():
        for name in ("up_proj", "gate_proj", "down_proj"):
            weight = model.model.get_submodule(f"model.layers.1.mlp.{name}").weight
            weight.mul_(20000).clamp_(-60000, 60000)  # type: ignore[operator, union-attr]
    model.model.to(torch.float16)  # type: ignore[arg-type]
    return dataclasses.replace(model, dtype=torch.float16)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("reads", [True, False])
def test_an_overflow_ends_an_answer_before_a_token_is_drawn(
    overflowing: LoadedModel, temperature: float, reads: bool
) -> None:
    prompt = frame_for_answer(overflowing, [Turn("user", "How do you feel?")])
    sampling = Sampling(max_new_tokens=4, temperature=temperature)
    vectors = random_vectors(overflowing) if reads else None
    with pytest.raises(UserError, match=r"overflow in float16; load it with --dtype fp32"):
        generate_batch(overflowing, [prompt], sampling, vectors=vectors)


@pytest.mark.parametrize("work", [read, surprise, capture])
def test_an_overflow_is_one_sentence_with_a_format_that_works(
    overflowing: LoadedModel, work: Callable[[LoadedModel], Any]
) -> None:
    model = dataclasses.replace(overflowing, context_length=None)
    with pytest.raises(UserError, match=r"overflow in float16; load it with --dtype fp32"):
        work(model)


def test_a_steer_too_strong_for_the_format_says_so() -> None:
    model = load_tiny()
    model.model.to(torch.float16)  # type: ignore[arg-type]
    model = dataclasses.replace(model, dtype=torch.float16)
    prompt = frame_for_answer(model, [Turn("user", "How do you feel?")])
    setup, vectors = SteeringSetup((Steer("calm", (0, 1), 3000.0),)), random_vectors(model, (0, 1))
    with pytest.raises(UserError, match="steer less"):
        generate_batch(
            model,
            [prompt],
            GREEDY,
            steering=lambda _: steered(model, setup, vectors, {0: 100.0, 1: 100.0}, [9]),
        )


# Devices and sizes


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_emulated_bfloat16_does_not_count(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _device: capability)
    assert choose_dtype("auto", torch.device("cuda:0")) == dtype


@pytest.mark.skipif(bool(torch.version.cuda), reason="this torch knows CUDA")
def test_a_torch_without_cuda_beside_an_nvidia_card_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "pip install" in wrong_torch()
    with pytest.raises(UserError, match="built without CUDA"):
        choose_device("cuda")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    assert wrong_torch() == ""


def test_blocks_that_torch_holds_unused_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, found in (
        ("mem_get_info", (100, 1000)),
        ("memory_reserved", 600),
        ("memory_allocated", 400),
    ):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda _device, found=found: found)
    assert free_bytes(torch.device("cuda:0")) == 300


def test_a_text_counts_its_copy_of_the_prefix_and_its_pooled_rows() -> None:
    model = dataclasses.replace(load_tiny(), device=torch.device("cuda:0"))
    cache = 2 * 3 * 32 * 4 // 2  # keys and values, layers, width, bytes, two heads share one
    token = 24 * 4 * 32 + cache
    assert tokens_beside_a_text(model, 100, 5) == (100 * cache + 5 * 4 * 3 * 32) // token
    assert tokens_beside_a_text(load_tiny(), 100, 5) == 0


def test_what_quantization_leaves_whole_is_counted_whole(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    (folder / "consolidated.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    model = load_tiny().model
    whole = sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.ndim < 2 or "embed" in name or "lm_head" in name
    )
    rest = sum(weight.numel() for weight in model.parameters()) - whole
    expected = 2 * whole + 0.6 * rest
    assert weight_bytes(folder, 0.6, 2) == pytest.approx(expected, abs=1)


def test_the_second_model_of_a_comparison_is_quantized_like_the_first(tmp_path: Path) -> None:
    options = StudioOptions(tmp_path, tmp_path, quantization="4bit")
    assert model_of(random_readout(load_tiny()).run, "org/model", options).quantization == "4bit"


def test_weights_without_room_are_told_from_where_they_lie(tmp_path: Path) -> None:
    from accelerate import cpu_offload

    plain, away = load_tiny(), load_tiny().model
    cpu_offload(away, execution_device=torch.device("cpu"))
    assert next(away.parameters()).is_meta
    assert weights_fingerprint(away) == plain.fingerprint
    expected = read(dataclasses.replace(plain, context_length=None))
    moved = dataclasses.replace(plain, model=away, context_length=None)
    np.testing.assert_allclose(read(moved), expected, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("work", WORK)
def test_a_real_gpu_has_its_memory_back(work: Callable[[LoadedModel], Any]) -> None:
    model = load_tiny(context_length=None)
    model.model.to("cuda")  # type: ignore[arg-type]
    model = dataclasses.replace(model, device=torch.device("cuda:0"))
    work(model)
    forget_prefix(model)
    before = torch.cuda.memory_allocated()
    rest = torch.empty(devices.free_bytes(model.device) - 2**21, dtype=torch.uint8, device="cuda")
    torch.cuda.set_per_process_memory_fraction(1e-6)
    with pytest.raises(UserError, match="no memory for"):
        work(model)
    torch.cuda.set_per_process_memory_fraction(1.0)
    del rest
    gc.collect()
    assert torch.cuda.memory_allocated() == before
