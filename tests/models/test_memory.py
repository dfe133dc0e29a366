"""Memory that runs out and numbers that overflow: one sentence, and nothing is left behind."""

import dataclasses
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from readout_ui.activations.batches import tokens_beside_a_text
from readout_ui.activations.extract import extract_activations, read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.prefix import forget_prefix
from readout_ui.app.jobs import JobState, Worker
from readout_ui.app.read.compare import model_of, read_with_other_model
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError, is_device_lost
from readout_ui.evaluation.logit_lens import logit_lens
from readout_ui.inference.forward import frame_content, next_tokens, perplexity, read_chat
from readout_ui.inference.generation import _seeded, frame_for_answer, generate_batch
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.search import WindowReader
from readout_ui.inference.steering import steered
from readout_ui.inference.steering_setup import Steer, SteeringSetup
from readout_ui.models.adapters import merge_adapter
from readout_ui.models.calling import LibraryErrors
from readout_ui.models.chat_template import Turn
from readout_ui.models.devices import (
    choose_device,
    choose_dtype,
    free_bytes,
    is_out_of_memory,
    wrong_torch,
)
from readout_ui.models.loading import (
    LoadedModel,
    ModelSpec,
    _bitsandbytes,
    _offloaded,
    load_model,
)
from readout_ui.models.trial import try_model
from readout_ui.models.weights import weight_bytes, weights_fingerprint
from readout_ui.progress import Cancelled
from readout_ui.texts.streams import Passage
from readout_ui.vectors.sentence_embedding import embed
from tests.support.full_card import full_card
from tests.support.loaded_tiny import (
    load_overflowing,
    load_tiny,
    on_device,
    random_readout,
    random_vectors,
)
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


def capture_by_hand(model: LoadedModel) -> Any:
    def mean(hidden: Any, mask: Any) -> Any:
        weights = mask.float()  # (n_texts, n_tokens)
        return (hidden * weights[:, :, None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)

    return extract_activations([LONG[: 40 + i] for i in range(8)], model, pooling=mean).numpy()


def follow(model: LoadedModel) -> Any:
    ids = frame_content(model.frame, LONG, "assistant").token_ids
    return np.array([chance for _token, chance in next_tokens(model, ids)])


def search(model: LoadedModel) -> Any:
    reader = WindowReader(model, random_vectors(model, (1,)), "z")
    passages = [Passage(LONG[: 150 + i], i, 0) for i in range(4)]
    found = reader.scores([window for one in passages for window in reader.windows(one)])
    return np.concatenate([scores for _batch, several in found for scores in several])


def lens(model: LoadedModel) -> Any:
    return [found.raised for found in logit_lens(model, random_vectors(model), 0)]


WORK = [read, surprise, speak, capture, capture_by_hand, follow, search]


@pytest.mark.parametrize("work", [*WORK, lens])
def test_no_memory_is_one_sentence_and_nothing_stays(work: Callable[[LoadedModel], Any]) -> None:
    with PretendGpu() as gpu:
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        before = gpu.used
        gpu.capacity = before + 2**12
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


@pytest.mark.parametrize("work", [*WORK, lens])
def test_memory_is_free_at_once_and_not_when_the_garbage_is_collected(
    work: Callable[[LoadedModel], Any],
) -> None:
    with PretendGpu() as gpu:
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        work(model)  # what is tried and looked up once
        forget_prefix(model)
        gc.collect()
        before = gpu.used
        gc.disable()
        try:
            work(model)
            forget_prefix(model)
            assert gpu.used == before
        finally:
            gc.enable()


@pytest.mark.parametrize("work", [*WORK, lens])
def test_wherever_memory_runs_out_it_is_one_sentence(work: Callable[[LoadedModel], Any]) -> None:
    with PretendGpu() as gpu:
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        if work is speak:
            work(model)  # whether it takes padding is tried once
            gc.collect()
        before = gpu.used
        gpu.reset()
        work(model)
        n_taken = gpu.taken
        for share in (0.0, 0.4, 0.7, 0.95):
            forget_prefix(model)
            gpu.reset()
            gpu.full_after = int(share * n_taken)
            with pytest.raises(UserError, match="no memory for"):
                work(model)
            gc.collect()
            assert gpu.used == before


def test_weights_that_find_no_memory_while_they_are_loaded_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object, **_options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(UserError, match=r"for the weights: 2\.00 MiB more .* --quantization 4bit"):
        load_model(ModelSpec(str(save_tiny_model(tmp_path / "tiny")), device="cpu"))


@pytest.mark.parametrize("fits", [True, False])
def test_the_second_model_of_a_comparison_is_gone_when_it_was_read(
    fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def load(*_given: object) -> LoadedModel:
        model = load_tiny()
        seen.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr("readout_ui.models.loading.load_model", load)
    run = random_readout(load_tiny()).run
    if not fits:
        monkeypatch.setattr(type(run), "refuse_other_model", refuse)
    worker, spec = Worker(), ModelSpec("org/model", device="cpu")
    job = worker.submit(
        "read", "Comparing", lambda told: read_with_other_model(spec, run, "Hi there", "raw", told)
    )
    with nullcontext() if fits else pytest.raises(UserError, match="another model"):
        job.result()
    assert [one() for one in seen] == [None]  # although the job is still held
    worker.close()


def refuse(*_given: object) -> None:
    raise UserError("another model")


def test_a_trial_without_memory_says_nothing_of_the_model() -> None:
    with PretendGpu() as gpu:
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        ids = list(range(5, 20))
        gpu.reset()
        assert try_model(model.model, ids) == ""
        n_taken = gpu.taken
        for share in (0.1, 0.2, 0.5, 0.9):
            gpu.reset()
            gpu.full_after = int(share * n_taken)
            assert try_model(model.model, ids) == ""


def test_a_trial_of_a_long_answer_that_had_no_memory_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, said = load_tiny("mistral", sliding_window=16), [torch.OutOfMemoryError("out of memory")]

    def tried(*_given: object) -> str:
        if said:
            raise said.pop()
        return "it forgets"

    monkeypatch.setattr("readout_ui.inference.generation.why_no_cache", tried)
    prompt = frame_for_answer(model, [Turn("user", LONG)])
    assert generate_batch(model, [prompt], GREEDY)[0].token_ids
    with pytest.raises(UserError, match="it forgets, so the scores"):
        generate_batch(model, [prompt], GREEDY)


def test_an_adapter_without_memory_is_not_said_to_fit_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8")
    save_file({"x.lora_A.weight": torch.ones(1, 1)}, tmp_path / "adapter_model.safetensors")

    def full(*_given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("readout_ui.models.adapters._merge", full)
    with pytest.raises(UserError, match=r"no memory for the adapter's x.*2\.00 MiB more"):
        merge_adapter(load_tiny().model, tmp_path)


def test_sentence_embeddings_go_in_smaller_parts_where_memory_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_few(texts: Sequence[str], _folder: Path) -> Any:
        if len(texts) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return np.array([[float(len(text)), 1.0] for text in texts])

    monkeypatch.setattr("readout_ui.vectors.sentence_embedding._read", read_few)
    texts, most = ["a", "bb", "ccc", "dddd", "eeeee"], 2
    assert embed(texts, tmp_path)[:, 0].tolist() == [1, 2, 3, 4, 5]
    most = 0
    with pytest.raises(UserError, match="cpu has no memory for one text"):
        embed(["another"], tmp_path)


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", True),
        (
            "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling "
            "`cusolverDnCreate(handle)`",
            True,
        ),
        ("cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED", False),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("Invalid buffer size: 12.50 GiB", True),
        ("MPS backend out of memory (max allowed: 18.13 GB). Tried to allocate 1.25 GB", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.", True),
        ("CUDA error: misaligned address", False),
        ("The size of tensor a (3) must match the size of tensor b (4)", False),
    ],
)
def test_full_memory_is_known_by_what_every_library_says_of_it(said: str, full: bool) -> None:
    assert is_out_of_memory(RuntimeError(said)) == full


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


def test_a_job_in_pieces_that_is_cancelled_keeps_no_tensor() -> None:
    with PretendGpu() as gpu:
        worker, begun = Worker(), Event()

        def work(_report: object) -> Generator[None, None, int]:
            held = gpu.placed(torch.zeros(2**10), "cuda:0")
            while True:
                begun.set()
                yield
                assert len(held)

        job = worker.submit_pieces("report", "Judging", work)
        assert begun.wait(60)
        assert gpu.used
        job.cancel()
        with pytest.raises(Cancelled):
            job.result()
        worker.close()
        gc.collect()
        assert (job.view().state, gpu.used) == (JobState.CANCELLED, 0)


def test_what_keeps_the_words_of_a_failure_keeps_no_tensor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with PretendGpu() as gpu:
        worker = Worker()

        def work(_report: object) -> None:
            held = gpu.placed(torch.zeros(2**10), "cuda:0")
            raise ValueError(len(held))

        with pytest.raises(ValueError, match="1024") as kept:
            worker.submit("read", "Reading", work).result()
        gc.collect()
        assert caplog.records[-1].exc_info is not None
        assert (kept.traceback[-1].name, gpu.used) == ("run", 0)
        worker.close()


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ("CUDA error: device-side assert triggered\nCompile with...", True),
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: misaligned address", True),
        ("CUDA error: the launch timed out and was terminated", True),
        ("CUDA error: unknown error", True),
        ("CUDA out of memory. Tried to allocate 2.00 MiB.", False),
        ("CUDA error: no kernel image is available for execution on the device", False),
    ],
)
def test_a_lost_device_is_known_by_its_words_also_behind_another_error(
    said: str, lost: bool
) -> None:
    assert is_device_lost(RuntimeError(said)) == lost
    with pytest.raises(UserError) as behind, LibraryErrors("it cannot be loaded", "a model"):
        raise RuntimeError(said)
    assert is_device_lost(behind.value) == lost


def test_a_lost_device_saves_once_and_refuses_all_further_work() -> None:
    saved: list[str] = []
    worker = Worker(save=lambda: saved.append("saved"))

    def lost(_report: object) -> None:
        with LibraryErrors("it cannot be loaded", "a model"):
            raise RuntimeError("CUDA error: device-side assert triggered\nCompile with...")

    for work in (lost, lambda _report: saved.append("more work")):
        job = worker.submit("read", "Reading", work)
        with pytest.raises(UserError, match=r"assert triggered.*restart Readout Studio"):
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
    return load_overflowing()


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


def test_an_overflow_in_a_token_that_is_only_kept_is_no_less_one() -> None:
    model = load_tiny()
    model.model.to(torch.float16)  # type: ignore[arg-type]
    model = dataclasses.replace(model, dtype=torch.float16)

    def overflow(_module: object, _inputs: object, output: Any) -> None:
        (output[0] if isinstance(output, tuple) else output)[:, 6] = torch.inf

    last = model.model.get_submodule("model.layers.2")
    with_kept, text = {"keep_tokens": {LONG[:80]: 20}}, [LONG[:80]]
    settings = CaptureSettings(read="content_last", share_prefix=False)
    hook = last.register_forward_hook(overflow)
    with pytest.raises(UserError, match=r"overflow in float16"):
        read_activations(model, text, settings, **with_kept)  # type: ignore[arg-type]
    hook.remove()
    assert read_activations(model, text, settings, **with_kept).kept.isfinite().all()  # type: ignore[arg-type]


def test_a_logit_lens_of_a_model_that_overflows_says_so() -> None:
    model = load_tiny()
    with torch.no_grad():
        model.model.get_submodule("model.norm").weight.fill_(60000.0)  # type: ignore[operator, union-attr]
    model.model.to(torch.float16)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"overflow in float16"):
        lens(dataclasses.replace(model, dtype=torch.float16))


@pytest.mark.parametrize("work", [read, surprise, capture, capture_by_hand, follow, search])
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


@pytest.mark.parametrize(("newer", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_an_apple_gpu_computes_bfloat16_since_macos_14(
    newer: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {(14, 0): newer}
    monkeypatch.setattr("torch.backends.mps.is_macos_or_newer", lambda *version: known[version])
    assert choose_dtype("auto", torch.device("mps")) == dtype


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


def test_four_bits_are_nf4_and_computed_in_the_models_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.50.0")
    config = _bitsandbytes("4bit", torch.bfloat16)
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "nf4")
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert _bitsandbytes("8bit", torch.bfloat16).load_in_8bit


def test_parts_that_found_no_room_on_the_gpus_are_told_with_what_that_costs() -> None:
    places = {"model.embed_tokens": 0, "model.layers.0": 0, "model.layers.1": "cpu", "lm_head": 0}
    model: Any = SimpleNamespace(hf_device_map=places)
    (note,) = _offloaded(model)
    assert note.startswith("1 of 4 parts of the model have no room on the GPUs")
    assert "many times as long" in note
    for whole in ({"": 0}, {"": "cpu"}, None):
        model.hf_device_map = whole
        assert _offloaded(model) == ()


def test_windows_of_a_search_count_their_copies_of_the_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("readout_ui.inference.search.default_token_budget", lambda _model: 200)
    with PretendGpu():
        model = on_pretend_gpu(load_tiny(context_length=None), torch.float32)
        reader = WindowReader(model, random_vectors(model, (1,)), "z")
        passages = [Passage(f"{i} I feel calm.", i, 0) for i in range(60)]
        windows = [window for one in passages for window in reader.windows(one)]
        batches = [batch for batch, _scores in reader.scores(windows)]
        prefix = reader._prefix
        assert prefix is not None
        copy = tokens_beside_a_text(model, prefix.n_tokens, 0)
        assert copy > 0
        for batch in batches:
            longest = max(len(each.framed.token_ids) for each in batch) - prefix.n_tokens
            assert len(batch) * (longest + copy) <= 200


def test_a_seed_leaves_an_apple_gpus_chance_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr("torch.mps.get_rng_state", lambda: states[-1])
    monkeypatch.setattr("torch.mps.set_rng_state", states.append)
    with pytest.raises(KeyError), _seeded(torch.device("mps"), 3):
        raise KeyError
    assert len(states) == 2
    assert states[0] is states[1]


def test_the_second_model_of_a_comparison_is_quantized_like_the_first(tmp_path: Path) -> None:
    options = StudioOptions(tmp_path, tmp_path, quantization="4bit")
    assert model_of(random_readout(load_tiny()).run, "org/model", options).quantization == "4bit"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("disk", [False, True])
def test_weights_without_room_are_told_from_where_they_lie(
    tied: bool, disk: bool, tmp_path: Path
) -> None:
    from accelerate import cpu_offload, disk_offload

    plain, away = (load_tiny(tie_word_embeddings=tied) for _ in range(2))
    if disk:
        disk_offload(away.model, str(tmp_path), execution_device=torch.device("cpu"))
    else:
        cpu_offload(away.model, execution_device=torch.device("cpu"))
    assert next(away.model.parameters()).is_meta
    assert weights_fingerprint(away.model) == plain.fingerprint
    assert lens(away) == lens(plain)
    expected = read(dataclasses.replace(plain, context_length=None))
    moved = dataclasses.replace(away, context_length=None)
    np.testing.assert_allclose(read(moved), expected, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("work", WORK)
def test_a_real_gpu_has_its_memory_back(work: Callable[[LoadedModel], Any]) -> None:
    model = on_device(load_tiny(context_length=None), torch.device("cuda:0"))
    work(model)
    forget_prefix(model)
    before = torch.cuda.memory_allocated()
    with full_card(model.device), pytest.raises(UserError, match="no memory for"):
        work(model)
    gc.collect()
    assert torch.cuda.memory_allocated() <= before
