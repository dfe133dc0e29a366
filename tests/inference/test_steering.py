"""Steering changes what it should, where it should, and leaves the model as it was."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from steering_vectors import SteeringVector
from torch import Tensor
from transformers import __version__ as version

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.hooks import recording
from readout_ui.errors import UserError
from readout_ui.inference.forward import perplexity
from readout_ui.inference.steering import residual_norms, steered
from readout_ui.inference.steering_setup import OPERATORS, Steer, SteeringSetup, Where
from readout_ui.models.blocks import bare_model
from readout_ui.models.calling import cache_argument, returned_cache
from readout_ui.models.loading import LoadedModel
from readout_ui.models.weights import weights_fingerprint
from readout_ui.progress import Cancelled
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.vectors import ConceptVectors
from tests.support.architectures import CACHE_LOSES_STATE, available
from tests.support.loaded_tiny import load_tiny

D_MODEL = 32
NORMS = {0: 2.0, 1: 4.0, 2: 8.0, 3: 16.0}
PROMPT = (5, 17, 30, 41, 52, 63)


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return load_tiny()


@pytest.fixture(scope="module")
def vectors() -> ConceptVectors:
    generator = torch.Generator().manual_seed(3)
    directions = torch.randn(2, 3, D_MODEL, generator=generator)
    directions /= directions.norm(dim=2, keepdim=True)
    directions[1, 2] = 0
    return ConceptVectors(
        concepts=("calm", "sad"),
        layers=(0, 1, 2),
        directions=directions,
        center=torch.zeros(3, D_MODEL),
        neutral_mean=torch.zeros(2, 3),
        neutral_std=torch.ones(2, 3),
    )


@pytest.fixture(autouse=True)
def model_unchanged(llama: LoadedModel) -> Iterator[None]:
    """After every test here, whatever went wrong in it, the model is bit-identical and bare."""
    yield
    assert weights_fingerprint(llama.model) == llama.fingerprint
    assert n_hooks(llama) == 0


def n_hooks(model: LoadedModel) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for module in model.model.modules()
    )


def setup(*steers: Steer, where: Where | None = None) -> SteeringSetup:
    return SteeringSetup(steers or (Steer("calm", (1,), 0.5),), where or Where())


def stream(model: LoadedModel, layer: int, ids: Tensor, attention: Tensor | None = None) -> Tensor:
    """(n_rows, n_tokens, d_model): what leaves a layer in one forward without cache."""
    kept: dict[int, Tensor] = {}

    def keep(at: int, output: Tensor) -> None:
        kept[at] = output.clone().reshape(*ids.shape, -1)

    with torch.no_grad(), recording(model.model, model.blocks(), keep):
        mask = torch.ones_like(ids) if attention is None else attention
        bare_model(model.model)(input_ids=ids, attention_mask=mask, use_cache=False)
    return kept[layer]


def prompt() -> Tensor:
    return torch.tensor([PROMPT])


def logits(model: LoadedModel, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found


def projection(activation: Tensor, vectors: ConceptVectors, layer: int) -> Tensor:
    return activation @ vectors.directions[0, layer]


def test_add_moves_every_token_by_the_direction_in_units_of_the_residual_norm(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    before = stream(llama, 1, prompt())
    with steered(llama, setup(), vectors, NORMS, [6]):
        after = stream(llama, 1, prompt())
    expected = before + 0.5 * 4.0 * vectors.directions[0, 1]
    torch.testing.assert_close(after, expected)


def test_the_raw_unit_adds_the_plain_number(llama: LoadedModel, vectors: ConceptVectors) -> None:
    before = stream(llama, 1, prompt())
    with steered(llama, setup(Steer("calm", (1,), -3, "raw")), vectors, NORMS, [6]):
        after = stream(llama, 1, prompt())
    torch.testing.assert_close(after, before - 3 * vectors.directions[0, 1])


def test_ablation_takes_out_the_share_of_the_projection(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    before = projection(stream(llama, 1, prompt()), vectors, 1)
    for share in (1.0, 0.5):
        steer = Steer("calm", (1,), share, operator="ablate")
        with steered(llama, setup(steer), vectors, NORMS, [6]):
            after = projection(stream(llama, 1, prompt()), vectors, 1)
        torch.testing.assert_close(after, before * (1 - share), atol=1e-5, rtol=1e-5)


def test_ablate_then_add_leaves_only_what_was_added(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    for multiplier in (0.5, -0.5):
        steer = Steer("calm", (1,), multiplier, operator="ablate_then_add")
        with steered(llama, setup(steer), vectors, NORMS, [6]):
            after = projection(stream(llama, 1, prompt()), vectors, 1)
        torch.testing.assert_close(after, torch.full((1, 6), multiplier * 4), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.5, -2.0])
def test_clamp_sets_the_projection_to_the_value(
    llama: LoadedModel, vectors: ConceptVectors, value: float
) -> None:
    steer = Steer("calm", (1,), operator="clamp", value=value)
    for unit, length in (("raw", 1.0), ("norm", 4.0)):
        with steered(llama, setup(replace(steer, unit=unit)), vectors, NORMS, [6]):  # type: ignore[arg-type]
            after = projection(stream(llama, 1, prompt()), vectors, 1)
        torch.testing.assert_close(after, torch.full((1, 6), value * length), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_multiplier_zero_is_no_steering_to_the_bit(
    llama: LoadedModel, vectors: ConceptVectors, operator: str
) -> None:
    value = 1.0 if operator == "clamp" else None
    steer = Steer("calm", (0, 1), 0.0, operator=operator, value=value)  # type: ignore[arg-type]
    before = logits(llama, prompt())
    with steered(llama, setup(steer), vectors, NORMS, [6]):
        assert n_hooks(llama) == 0
        assert torch.equal(logits(llama, prompt()), before)
    with steered(llama, setup().scaled(0), vectors, NORMS, [6]):
        assert torch.equal(logits(llama, prompt()), before)


def test_several_concepts_and_layers_add_up(llama: LoadedModel, vectors: ConceptVectors) -> None:
    both = setup(Steer("calm", (0, 1), 0.25), Steer("sad", (1,), -1, "raw"))
    with steered(llama, setup(Steer("calm", (0,), 0.25)), vectors, NORMS, [6]):
        first = stream(llama, 1, prompt())
    with steered(llama, both, vectors, NORMS, [6]):
        after = stream(llama, 1, prompt())
    added = 0.25 * 4.0 * vectors.directions[0, 1] - vectors.directions[1, 1]
    torch.testing.assert_close(after, first + added)


WHERE = {
    "all": (Where(), range(10)),
    "prompt": (Where("prompt"), range(6)),
    "generated": (Where("generated"), range(6, 10)),
    "from the prompt on": (Where("from", start=3), range(3, 10)),
    "from generated on": (Where("from", start=8), range(8, 10)),
    "spans": (Where("spans", spans=((1, 3), (7, 8))), (1, 2, 7)),
}


@pytest.mark.parametrize("name", WHERE)
def test_positions_hold_over_calls_with_a_cache(
    llama: LoadedModel, vectors: ConceptVectors, name: str
) -> None:
    where, expected = WHERE[name]
    moved: list[bool] = []

    def look(layer: int, output: Tensor) -> None:
        if layer == 0:
            unit = vectors.directions[0, 0]
            moved.extend((output[0] @ unit > 500).tolist())

    far = setup(Steer("calm", (0,), 1000, "raw"), where=where)
    with steered(llama, far, vectors, NORMS, [6]), recording(llama.model, llama.blocks(), look):
        continue_text = cast(Any, llama.model.generate)
        continue_text(
            prompt(),
            attention_mask=torch.ones_like(prompt()),
            max_new_tokens=5,
            min_new_tokens=5,
            do_sample=False,
            pad_token_id=0,
        )
    assert [i for i, one in enumerate(moved) if one] == list(expected)


@pytest.mark.parametrize("where", [Where(), Where("generated"), Where("from", start=2)])
def test_a_left_padded_row_is_steered_as_if_it_were_alone(
    llama: LoadedModel, vectors: ConceptVectors, where: Where
) -> None:
    rows = [PROMPT, PROMPT[2:5]]
    width = len(PROMPT)
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    attention = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    chosen = setup(where=where)

    def generate(ids: Tensor, attention: Tensor, lengths: list[int]) -> Tensor:
        continue_text = cast(Any, llama.model.generate)
        with steered(llama, chosen, vectors, NORMS, lengths):
            made: Tensor = continue_text(
                ids, attention_mask=attention, max_new_tokens=4, min_new_tokens=4,
                do_sample=False, pad_token_id=0, output_scores=True, return_dict_in_generate=True,
            ).scores[-1]  # fmt: skip
        return made

    together = generate(ids, attention, [6, 3])
    for row, tokens in enumerate(rows):
        alone = torch.tensor([tokens])
        single = generate(alone, torch.ones_like(alone), [len(tokens)])
        torch.testing.assert_close(together[row], single[0], atol=1e-4, rtol=1e-3)


def test_one_prompt_length_serves_every_row_and_another_number_is_refused(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    ids = torch.tensor([PROMPT, PROMPT, PROMPT])
    only_prompt = setup(where=Where("prompt"))
    with steered(llama, only_prompt, vectors, NORMS, [4]):
        together = stream(llama, 1, ids)
    with steered(llama, only_prompt, vectors, NORMS, [4]):
        torch.testing.assert_close(together[2], stream(llama, 1, prompt())[0])
    with (
        steered(llama, only_prompt, vectors, NORMS, [4, 4]),
        pytest.raises(ValueError, match="2 prompt lengths for 3 rows"),
    ):
        stream(llama, 1, ids)


@pytest.mark.parametrize("architecture", [a for a in available() if a not in CACHE_LOSES_STATE])
def test_every_architecture_is_steered_alike_with_and_without_a_cache(
    architecture: str, vectors: ConceptVectors
) -> None:
    model = load_tiny(architecture)
    chosen = setup(Steer("calm", (1,), 0.5), where=Where("from", start=4))
    before = stream(model, 1, prompt())
    with steered(model, chosen, vectors, NORMS, [6]):
        moved = stream(model, 1, prompt())
        continue_text = cast(Any, model.model.generate)
        made = continue_text(
            prompt(),
            attention_mask=torch.ones_like(prompt()),
            max_new_tokens=3,
            do_sample=False,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
        whole = logits(model, made.sequences[:, :-1])[0, -1]
    expected = before.clone()
    expected[:, 4:] += 2.0 * vectors.directions[0, 1]
    torch.testing.assert_close(moved, expected)
    torch.testing.assert_close(made.logits[-1][0], whole, atol=1e-3, rtol=1e-3)
    assert n_hooks(model) == 0
    assert weights_fingerprint(model.model) == model.fingerprint


def test_a_model_whose_caller_gives_no_mask_is_placed_by_its_cache(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    chosen = setup(where=Where("generated"))
    with torch.no_grad(), steered(llama, chosen, vectors, NORMS, [5]):
        whole = llama.model(input_ids=prompt()).logits[0, -1]
        cache = returned_cache(llama.model(input_ids=prompt()[:, :5], use_cache=True))
        past = {cache_argument(llama.model): cache}
        step = llama.model(input_ids=prompt()[:, 5:], **past).logits[0, -1]
    torch.testing.assert_close(step, whole, atol=1e-4, rtol=1e-3)


def test_a_cache_under_a_name_nobody_knows_is_refused_and_steers_no_wrong_token(
    llama: LoadedModel, vectors: ConceptVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, known = llama.model.forward, cache_argument(llama.model)

    def renamed(input_ids: Tensor, memory: Any = None, **more: Any) -> Any:
        return real(input_ids=input_ids, **{known: memory}, **more)

    with torch.no_grad():
        cache = returned_cache(llama.model(input_ids=prompt()[:, :5], use_cache=True))
        monkeypatch.setattr(llama.model, "forward", renamed)
        with (
            steered(llama, setup(where=Where("generated")), vectors, NORMS, [5]),
            pytest.raises(UserError, match=f"takes no cache .*transformers {version}"),
        ):
            llama.model(input_ids=prompt()[:, 5:], memory=cache)


def test_arguments_given_by_position_are_seen(llama: LoadedModel, vectors: ConceptVectors) -> None:
    ids = torch.tensor([[0, 0, *PROMPT[:4]]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1]])
    with torch.no_grad(), steered(llama, setup(where=Where("from", start=3)), vectors, NORMS, [4]):
        named = llama.model(input_ids=ids, attention_mask=mask).logits
        by_position = llama.model(ids, mask).logits
    assert torch.equal(named, by_position)


def test_the_place_of_a_token_is_not_left_over_from_the_forward_before(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    """Masks that are prepared already say nothing of the past, so the cache has to."""
    name = cache_argument(llama.model)

    def last_of(n_cached: int) -> Tensor:
        cache = returned_cache(llama.model(input_ids=prompt()[:, :n_cached], use_cache=True))
        seen = torch.zeros(1, 1, 1, n_cached + 1)
        new = prompt()[:, n_cached : n_cached + 1]
        made: Tensor = llama.model(input_ids=new, attention_mask=seen, **{name: cache}).logits
        return made[0, -1]

    with torch.no_grad(), steered(llama, setup(where=Where("from", start=4)), vectors, NORMS, [4]):
        last_of(2)
        found = last_of(4)
        expected = llama.model(input_ids=prompt()[:, :5]).logits[0, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("stop", [Cancelled, RuntimeError, KeyboardInterrupt])
def test_nothing_stays_on_the_model_after_an_exception(
    llama: LoadedModel, vectors: ConceptVectors, stop: type[BaseException]
) -> None:
    before = logits(llama, prompt())
    seen = []

    def stop_inside(layer: int, output: Tensor) -> None:
        seen.append(n_hooks(llama))
        raise stop

    with (
        pytest.raises(stop),
        steered(llama, setup(), vectors, NORMS, [6]),
        recording(llama.model, llama.blocks(), stop_inside),
    ):
        logits(llama, prompt())
    assert len(seen) == 1
    assert n_hooks(llama) == 0
    assert torch.equal(logits(llama, prompt()), before)


def test_what_was_not_trained_is_refused_before_anything_is_touched(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    wrong = {
        "concept joy was not trained .options: calm, sad.": Steer("joy", (1,)),
        "layer 7 was not trained": Steer("calm", (7,)),
        "sad has no direction at layer 2": Steer("sad", (2,)),
    }
    for message, steer in wrong.items():
        with (
            pytest.raises(UserError, match=message),
            steered(llama, setup(Steer("calm", (0,)), steer), vectors, NORMS, [6]),
        ):
            pass
        assert n_hooks(llama) == 0


def test_vectors_of_a_deeper_model_are_refused(vectors: ConceptVectors) -> None:
    shallow = load_tiny()
    deep = replace(vectors, layers=(0, 1, 9))
    with (
        pytest.raises(UserError, match="layer 9, tiny has 3 layers"),
        steered(shallow, setup(), deep, NORMS, [6]),
    ):
        pass


def test_half_precision_models_are_steered_in_their_own_precision(vectors: ConceptVectors) -> None:
    model = load_tiny()
    half = replace(model, model=model.model.bfloat16(), dtype=torch.bfloat16)
    for operator in ("add", "ablate"):
        with steered(half, setup(Steer("calm", (1,), operator=operator)), vectors, NORMS, [6]):  # type: ignore[arg-type]
            after = stream(half, 1, prompt())
        assert after.dtype == torch.bfloat16
        assert torch.isfinite(after).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("padded", [False, True])
def test_adding_gives_what_the_library_gives_to_the_bit(dtype: torch.dtype, padded: bool) -> None:
    model = load_tiny()
    module: Any = model.model.to(dtype)  # type: ignore[arg-type]
    unit = torch.randn(model.d_model, generator=torch.Generator().manual_seed(7))
    vectors = ConceptVectors.bare(("calm",), (0, 2), unit.expand(1, 2, -1))
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    mask = torch.tensor([[1 - padded, 1, 1, 1], [1, 1, 1, 1]])
    config: Any = {"decoder_block": model.blocks().template}
    library = SteeringVector({0: unit, 2: unit})
    with torch.inference_mode():
        patch = library.patch_activations(module, config, multiplier=0.7, token_indices=mask)
        theirs = module(input_ids=ids, attention_mask=mask).logits
        patch.remove()
        setup = SteeringSetup((Steer("calm", (0, 2), 0.7, "raw"),))
        with steered(model, setup, vectors, {}, [4]):
            ours = module(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(ours, theirs)


def test_another_layer_type_is_steered_at_its_own_module(
    llama: LoadedModel, vectors: ConceptVectors
) -> None:
    before = stream(llama, 1, prompt())
    with steered(llama, setup(), replace(vectors, layer_type="mlp"), NORMS, [6]):
        after = stream(llama, 1, prompt())
    torch.testing.assert_close(after, before + 2.0 * vectors.directions[0, 1])


def test_norms_are_the_mean_length_over_neutral_tokens_and_come_from_the_cache(
    llama: LoadedModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = ActivationCache(tmp_path_factory.mktemp("cache"))
    texts = {"calm": ("I feel calm and warm.",), "_neutral": ("The harbour was empty.",)}
    first = residual_norms(llama, TrainSettings(), texts, cache)
    framed = llama.frame.frame("The harbour was empty.", 256)
    ids = torch.tensor([framed.token_ids])
    for layer, norm in first.items():
        inside = stream(llama, layer, ids)[0, framed.content_start : framed.content_stop]
        assert norm == pytest.approx(float(inside.norm(dim=-1).mean()), rel=1e-4)
    with recording(llama.model, llama.blocks(), _refuse):
        assert residual_norms(llama, TrainSettings(), texts, cache) == first
    assert set(residual_norms(llama, TrainSettings())) == {0, 1, 2}


def _refuse(layer: int, output: Tensor) -> None:
    raise AssertionError("the model ran again")


def test_perplexity_is_that_of_the_tokens_after_the_start(llama: LoadedModel) -> None:
    logs = torch.log_softmax(logits(llama, prompt())[0].double(), dim=-1)
    nll = [-float(logs[i - 1, PROMPT[i]]) for i in range(4, 6)]
    expected = float(torch.tensor(nll).mean().exp())
    assert perplexity(llama, PROMPT, 4) == pytest.approx(expected, rel=1e-4)
    assert perplexity(llama, PROMPT, 6) is None
    assert perplexity(llama, PROMPT, 0) == perplexity(llama, PROMPT, 1)


def test_perplexity_feels_the_steering(llama: LoadedModel, vectors: ConceptVectors) -> None:
    before = perplexity(llama, PROMPT, 3)
    with steered(llama, setup(Steer("calm", (1,), 5)), vectors, NORMS, [3]):
        during = perplexity(llama, PROMPT, 3)
    assert during != before
    assert perplexity(llama, PROMPT, 3) == before
