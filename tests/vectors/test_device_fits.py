"""A fit on a GPU finds what the fit on the processor finds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from readout_ui.activations.pooling import Layered, Rows, layers_on
from readout_ui.errors import UserError
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors import device_fits, layer_fits
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.layer_fits import Fitted, fit_and_rate
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus
from tests.support.loaded_tiny import load_tiny
from tests.support.pretend_gpu import PretendGpu, on_pretend_gpu

D_MODEL, N_LAYERS, N_TOKENS = 48, 5, 40
CUDA = torch.device("cuda:0")


class Drawn(NamedTuple):
    """Texts in groups, and neutral tokens."""

    groups: TextGroups
    texts: Tensor
    tokens: Tensor | None


def drawn(sizes: tuple[int, ...], n_neutral: int = 6, tokens: bool = True) -> Drawn:
    """Concepts of so many texts, far from zero; dimension 3 spreads far, the last ones little."""
    generator = torch.Generator().manual_seed(len(sizes))
    n_texts = sum(sizes) + n_neutral
    mix = torch.randn(D_MODEL, D_MODEL, generator=generator) / 6 + torch.eye(D_MODEL)
    scale = torch.ones(D_MODEL)
    scale[3], scale[-6:] = 30.0, 0.1

    def some(n: int) -> Tensor:
        return torch.randn(n, N_LAYERS, D_MODEL, generator=generator) @ mix

    texts, rows, start = some(n_texts), [], 0
    for size in sizes:
        rows.append(tuple(range(start, start + size)))
        texts[start : start + size] += torch.randn(D_MODEL, generator=generator)
        start += size
    groups = TextGroups(
        tuple(f"c{i:03d}" for i in range(len(sizes))), tuple(rows), tuple(range(start, n_texts))
    )
    return Drawn(groups, texts * scale + 5, some(N_TOKENS) * scale + 5 if tokens else None)


def corpus_of(case: Drawn, method: str) -> Corpus:
    """As an extraction gives it."""
    names = ("",) * len(case.texts)
    settings = TrainSettings(method=method)
    return Corpus(names, case.groups, case.texts, settings, neutral_tokens=case.tokens)


def fitted(corpus: Corpus, differences: Tensor | None = None) -> Fitted:
    """Where the corpus says."""
    return fit_and_rate(corpus, corpus.activations, corpus.groups, differences)


def both(corpus: Corpus, differences: Tensor | None = None) -> tuple[Fitted, Fitted]:
    """Fitted on the processor and on the pretend GPU."""
    here = fitted(corpus, differences)
    with PretendGpu() as gpu:
        found = fitted(replace(corpus, device=CUDA), differences)
        assert gpu.launches, "nothing was done on the GPU"
        assert not gpu.float64
        assert not gpu.used
    return here, found


def require_alike(here: Fitted, found: Fitted) -> None:
    """The same to what float32 leaves."""
    torch.testing.assert_close(found.directions, here.directions, rtol=0, atol=2e-5)
    if here.steering is None or found.steering is None:
        assert here.steering is found.steering
    else:
        torch.testing.assert_close(found.steering, here.steering, rtol=0, atol=2e-5)
    assert found.scores.auroc == pytest.approx(here.scores.auroc, abs=2e-3)
    assert found.scores.top1 == pytest.approx(here.scores.top1, abs=1e-2)
    if here.calibration is not None:
        assert found.calibration is not None
        torch.testing.assert_close(
            found.calibration.mean, here.calibration.mean, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            found.calibration.std, here.calibration.std, rtol=1e-4, atol=1e-5
        )
        assert found.calibration.lengths == pytest.approx(here.calibration.lengths)


CASES: dict[str, Callable[[], Drawn]] = {
    "eight texts of each": lambda: drawn((8,) * 7),
    "other numbers, some alone": lambda: drawn((1, 5, 2, 9, 1, 3)),
    "no neutral texts": lambda: drawn((4,) * 5, n_neutral=0),
    "no neutral tokens": lambda: drawn((4,) * 5, tokens=False),
    "two concepts": lambda: drawn((5, 5)),
    "two concepts without tokens": lambda: drawn((5, 5), tokens=False),
    "more texts than the map is made of": lambda: drawn((60,) * 8),
    "one description of each": lambda: drawn((1,) * 6),
}


@pytest.mark.parametrize("method", device_fits.DEVICE_METHODS)
@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_the_processor_finds(case: str, method: str) -> None:
    require_alike(*both(corpus_of(CASES[case](), method)))


N_ROWS = 12
LAID: dict[str, tuple[Callable[[Tensor], Layered], int]] = {
    "in one": (lambda some: some, N_ROWS),
    "where they were read": (lambda some: Rows(some.unbind(), *some.shape[1:]), N_ROWS),
    "layer after layer": (lambda some: some.transpose(0, 1).contiguous().transpose(0, 1), 1),
}
"""How activations lie on the host, and in how many copies they go to the device from there."""


@pytest.mark.parametrize("laid", LAID)
def test_layers_go_to_the_device_from_where_they_lie(laid: str) -> None:
    texts = torch.randn(N_ROWS, N_LAYERS, D_MODEL)
    lie, n_copies = LAID[laid]
    with PretendGpu() as gpu:
        there = layers_on(CUDA, lie(texts), range(1, 4))
        assert gpu.waits == n_copies
        assert gpu.copied == gpu.used == texts[:, 1:4].nbytes
        assert torch.equal(there.cpu(), texts[:, 1:4])


def test_contrast_texts_stand_against_their_concept_alone() -> None:
    case = drawn((6,) * 5)
    first, second, *others = case.groups.rows
    groups = replace(
        case.groups, rows=(first, second[:3], *others), against=((), second[3:], *[()] * 3)
    )
    require_alike(*both(corpus_of(case._replace(groups=groups), "whitened")))


def test_given_differences_are_mapped_in_place_of_the_means() -> None:
    case = drawn((6,) * 5)
    given = torch.randn(5, N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(1))
    require_alike(*both(corpus_of(case, "whitened"), given))


def test_layers_that_do_not_fit_at_once_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(drawn((8,) * 7), "whitened")
    there = replace(corpus, device=CUDA)
    peaks, found = [], []
    n_rows = len(corpus.texts) + N_TOKENS
    for n_layers in (N_LAYERS, 2):
        room = n_layers * 4 * device_fits._COPIES * n_rows * D_MODEL
        monkeypatch.setattr(device_fits, "_AT_ONCE", room)
        with PretendGpu() as gpu:
            found.append(fitted(there))
            peaks.append(gpu.peak)
    require_alike(*found)
    assert peaks[1] < peaks[0] / 2


def test_a_concept_whose_texts_differ_by_nothing_from_the_others_has_no_direction() -> None:
    case = drawn((4,) * 5)
    case.texts[:] = case.texts[0]
    _, found = both(corpus_of(case, "mean"))
    assert not found.directions.any()


def test_a_number_that_is_not_finite_is_named_by_its_layer() -> None:
    case = drawn((4,) * 5)
    case.texts[7, 3, 2] = torch.inf
    corpus = replace(corpus_of(case, "whitened"), device=CUDA)
    with PretendGpu() as gpu:
        with pytest.raises(UserError, match="layer 3"):
            fitted(corpus)
        assert not gpu.used


def test_where_the_gpu_has_no_room_the_processor_fits_and_nothing_is_left_behind() -> None:
    corpus = corpus_of(drawn((8,) * 7), "whitened")
    here = fitted(corpus)
    with PretendGpu(capacity=2**17) as gpu:
        found = fitted(replace(corpus, device=CUDA))
        assert gpu.taken
        assert not gpu.used
    assert torch.equal(found.directions, here.directions)
    assert found.scores == here.scores


def test_a_training_of_a_model_on_a_gpu_is_fitted_there(
    monkeypatch: pytest.MonkeyPatch, descriptions: Path
) -> None:
    texts = Library(descriptions)
    here = train(texts, load_tiny("llama"), TrainSettings())
    devices = []
    there = device_fits.fitted_on_device

    def noted(*given: Any) -> Any:
        devices.append(given[-1])
        return there(*given)

    monkeypatch.setattr(layer_fits, "fitted_on_device", noted)
    with PretendGpu():
        model = on_pretend_gpu(load_tiny("llama"), torch.float32)
        found = train(texts, model, TrainSettings())
    assert devices == [CUDA]
    torch.testing.assert_close(found.vectors.directions, here.vectors.directions, rtol=0, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CASES)
def test_a_real_gpu_finds_what_the_processor_finds(case: str) -> None:
    corpus = corpus_of(CASES[case](), "whitened")
    here = fitted(corpus)
    torch.backends.cuda.matmul.fp32_precision = "tf32"  # as a notebook may have chosen
    try:
        found = fitted(replace(corpus, device=CUDA))
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"
    require_alike(here, found)
