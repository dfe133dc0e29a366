"""Activations of texts: the same numbers as one text at a time, however they are computed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache as remember
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from readout_ui.activations import prefix as prefix_module
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.hooks import inference, recording
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.pooling import CONTENT_RULES, READ_RULES, Rows
from readout_ui.errors import UserError
from readout_ui.inference.generation import frame_for_answer, generate
from readout_ui.inference.sampling import Sampling
from readout_ui.models.blocks import bare_model
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, adopt_model
from readout_ui.models.prompt import frame_for
from readout_ui.progress import Cancelled, Progress
from tests.support.architectures import CACHE_LOSES_STATE, CHATML, available, build, tiny_tokenizer

TEXTS = (
    "I feel calm.",
    "I am afraid, and my hands shake. How do I breathe now? There is nothing to be done here.",
    "The boats had left before dawn. I feel warm.",
    "I feel",
    "My breath is slow; the harbour was empty, and I asked for nothing at all that morning.",
    "Nothing asks to be done. I am warm and slow and even, and the boats are empty.",
    "I feel calm.",
    "x",
)
SETTINGS = CaptureSettings()
PLAIN = CaptureSettings(share_prefix=False)


@remember
def tiny(name: str = "llama", chat_template: str | None = CHATML) -> LoadedModel:
    return loaded(build(name), tiny_tokenizer(chat_template))


def loaded(model: Any, tokenizer: Any) -> LoadedModel:
    return adopt_model(model, tokenizer, ModelSpec("tiny"))


def span(rule: str, start: int, stop: int, n_tokens: int) -> slice:
    """The read rules, written down a second time."""
    if rule == "content_mean":
        return slice(start, stop)
    if rule == "content_last":
        return slice(stop - 1, stop)
    if rule == "content_tail":
        n_dropped = (stop - start) // 3
        return slice(start + n_dropped, stop)
    return slice(n_tokens - 1, n_tokens)


@remember
def hidden_states(model: LoadedModel, text: str) -> Tensor:
    """(n_layers, n_tokens, d_model): one whole text alone, as the model itself reports it."""
    framed = model.frame.frame(text, 256)
    last: list[Tensor] = []
    block = model.model.get_submodule(model.blocks().names[-1])
    handle = block.register_forward_hook(
        lambda _m, _i, output: last.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.inference_mode():
        output = bare_model(model.model)(
            input_ids=torch.tensor([framed.token_ids]), output_hidden_states=True, use_cache=False
        )
    handle.remove()
    # hidden_states[i + 1] is layer i, except the last, which comes after the final norm
    return torch.stack([*output.hidden_states[1:-1], last[0]])[:, 0]


def reference(model: LoadedModel, rule: str) -> Tensor:
    """(n_texts, n_layers, d_model) of TEXTS."""
    pooled = []
    for text in TEXTS:
        framed = model.frame.frame(text, 256)
        where = span(rule, framed.content_start, framed.content_stop, len(framed.token_ids))
        pooled.append(hidden_states(model, text)[:, where].mean(dim=1))
    return torch.stack(pooled)


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """(n_texts, n_tokens) of every forward pass of the tiny llama's decoder."""
    shapes: list[tuple[int, int]] = []
    prefix_module.forget_prefix(tiny())
    bare = bare_model(tiny().model)
    handle = bare.register_forward_pre_hook(
        lambda _m, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    monkeypatch.setattr(prefix_module, "MIN_SAVED_TOKENS", 1)
    yield shapes
    handle.remove()
    prefix_module.forget_prefix(tiny())


@pytest.mark.parametrize("name", available())
def test_every_architecture_gives_what_one_text_at_a_time_gives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_module, "MIN_SAVED_TOKENS", 1)
    model = tiny(name)
    for rule in READ_RULES:
        expected = reference(model, rule)
        for batch_size, share_prefix in ((None, True), (3, True), (None, False), (1, False)):
            settings = CaptureSettings(rule, batch_size=batch_size, share_prefix=share_prefix)
            found = read_activations(model, TEXTS, settings).pooled
            assert relative_difference(found, expected) < 1e-4, settings


@pytest.mark.parametrize("name", available())
def test_the_shared_prefix_is_used_wherever_it_is_right(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_module, "MIN_SAVED_TOKENS", 1)
    model = tiny(name)
    prefix_module.forget_prefix(model)
    notes = read_activations(model, TEXTS, SETTINGS).notes
    if name in CACHE_LOSES_STATE:
        (note,) = notes
        assert "computed anew for each" in note
    else:
        assert notes == ()


@pytest.mark.parametrize("harm", ["wrong numbers", "an error"])
def test_a_cache_that_cannot_be_trusted_is_not_used_and_that_is_said(
    harm: str, counted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated = prefix_module.SharedPrefix.repeated

    def harmed(prefix: prefix_module.SharedPrefix, n_texts: int, device: torch.device) -> Any:
        if harm == "an error":
            raise TypeError("this cache cannot be reordered")
        states = repeated(prefix, n_texts, device)
        for layer in states.layers:
            layer.values = layer.values * 1.001
        return states

    monkeypatch.setattr(prefix_module.SharedPrefix, "repeated", harmed)
    for _ in range(2):
        found = read_activations(tiny(), TEXTS, SETTINGS)
        assert relative_difference(found.pooled, reference(tiny(), "content_mean")) < 1e-4
        (note,) = found.notes
        expected = "would differ by" if harm == "wrong numbers" else "cannot be reordered"
        assert expected in note
    checked = sum(n == 2 for n, _ in counted)
    assert checked <= 2  # the refusal is remembered: nothing is tried in the second training


def test_a_window_shorter_than_the_texts_is_checked_with_a_whole_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prefix_module, "MIN_SAVED_TOKENS", 1)
    model = loaded(build("mistral", sliding_window=48), tiny_tokenizer())
    framed = [model.frame.frame(text, 256) for text in TEXTS]
    short = [text for text in framed if len(text.token_ids) <= 48]
    assert 1 < len(short) < len(framed)
    paths = model.blocks()
    prefix = prefix_module.find_prefix(model, paths, short)
    assert prefix.n_tokens > 0
    assert prefix.fits(short)
    assert not prefix.fits(framed)
    assert prefix_module.find_prefix(model, paths, framed).longest > 10**6


def test_a_length_written_among_the_rotary_settings_is_a_bound_too() -> None:
    rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope |= {"original_max_position_embeddings": 64, "rope_theta": 10000.0}
    model = loaded(build("llama", rope_scaling=rope), tiny_tokenizer())
    assert set(prefix_module.lengths_that_change(model)) == {64}
    assert prefix_module.lengths_that_change(tiny()) == []


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_side_changes_nothing(side: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = side
    model = replace(tiny(), tokenizer=tokenizer, frame=frame_for(tokenizer))
    expected = read_activations(tiny(), TEXTS, PLAIN).pooled
    assert torch.equal(read_activations(model, TEXTS, PLAIN).pooled, expected)


@pytest.mark.parametrize("layer_type", ["self_attn", "mlp", "input_layernorm"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral", "gpt-neox"])
def test_parts_of_a_block_are_read_where_they_are(name: str, layer_type: str) -> None:
    model = tiny(name)
    settings = CaptureSettings(layer_type=layer_type)
    found = read_activations(model, TEXTS, settings).pooled
    outputs: list[Tensor] = []
    handles = [
        model.model.get_submodule(path).register_forward_hook(
            lambda _m, _i, output: outputs.append(
                output[0] if isinstance(output, tuple) else output
            )
        )
        for path in model.blocks(layer_type).names
    ]
    framed = model.frame.frame(TEXTS[1], 256)
    with torch.inference_mode():
        model.model(torch.tensor([framed.token_ids]))
    for handle in handles:
        handle.remove()
    content = slice(framed.content_start, framed.content_stop)
    expected = torch.stack([output[0, content].mean(dim=0) for output in outputs])
    assert relative_difference(found[1], expected) < 1e-4


def test_a_block_that_flattens_its_batch_is_read_right() -> None:
    model = tiny("opt")
    settings = CaptureSettings(
        layer_type="wide", layer_config=(("wide", "model.decoder.layers.{num}.fc2"),)
    )
    found = read_activations(model, TEXTS, settings)
    alone = read_activations(model, TEXTS, replace(settings, batch_size=1, share_prefix=False))
    assert relative_difference(found.pooled, alone.pooled) < 1e-4


def test_a_frame_without_a_chat_template_works() -> None:
    model = tiny(chat_template=None)
    expected = reference(model, "content_mean")
    assert relative_difference(read_activations(model, TEXTS, SETTINGS).pooled, expected) < 1e-4


def test_results_come_in_the_order_of_the_texts_and_repeated_ones_twice() -> None:
    found = read_activations(tiny(), TEXTS, SETTINGS)
    turned = read_activations(tiny(), TEXTS[::-1], SETTINGS)
    assert found.texts == TEXTS
    assert relative_difference(found.pooled.flip(0), turned.pooled) < 1e-4
    assert torch.equal(found.pooled[0], found.pooled[6])
    assert (found.n_computed, found.n_cached) == (len(TEXTS) - 1, 0)


def test_the_frame_goes_through_the_model_once_and_nothing_behind_the_content(
    counted: list[tuple[int, int]],
) -> None:
    read_activations(tiny(), TEXTS, SETTINGS)
    checks = 2  # the probe in the plain way, which leaves the prefix, and the probe after it
    framed = [tiny().frame.frame(text, 256) for text in dict.fromkeys(TEXTS)]
    n_content = [text.content_stop - text.content_start for text in framed]
    assert counted[checks:] == [(len(framed), max(n_content))]
    counted.clear()
    read_activations(tiny(), ["A new text that nobody read."], SETTINGS)
    new = tiny().frame.frame("A new text that nobody read.", 256)
    assert counted == [(1, new.content_stop - new.content_start)]


def test_cudnn_makes_no_plan_for_every_length_and_is_as_before_afterwards() -> None:
    chosen: list[bool] = []
    enabled: Callable[[], bool] = torch.backends.cuda.cudnn_sdp_enabled
    before = enabled()
    handle = bare_model(tiny().model).register_forward_pre_hook(lambda *_: chosen.append(enabled()))
    try:
        read_activations(tiny(), TEXTS, SETTINGS)
        generate(tiny(), frame_for_answer(tiny(), [Turn("user", "Hm")]), Sampling(max_new_tokens=2))
        with pytest.raises(KeyError), inference(tiny().model):
            raise KeyError
    finally:
        handle.remove()
    assert len(chosen) > 2
    assert not any(chosen)
    assert enabled() is before is True


def test_without_sharing_the_closing_template_is_still_left_out(
    counted: list[tuple[int, int]],
) -> None:
    read_activations(tiny(), TEXTS[:1], PLAIN)
    framed = tiny().frame.frame(TEXTS[0], 256)
    assert counted == [(1, framed.content_stop)]
    assert framed.content_stop < len(framed.token_ids)


def test_batches_are_sorted_by_length_and_stay_within_the_budget(
    counted: list[tuple[int, int]],
) -> None:
    read_activations(tiny(), TEXTS, CaptureSettings(share_prefix=False, token_budget=150))
    widths = [width for _, width in counted]
    assert widths == sorted(widths, reverse=True)
    assert all(n == 1 or n * width <= 150 for n, width in counted)
    assert sum(n for n, _ in counted) == len(set(TEXTS))
    counted.clear()
    read_activations(tiny(), TEXTS, CaptureSettings(share_prefix=False, batch_size=2))
    assert max(n for n, _ in counted) == 2


def test_a_retrain_reads_only_the_new_text(tmp_path: Path, counted: list[tuple[int, int]]) -> None:
    cache = ActivationCache(tmp_path)
    first = read_activations(tiny(), TEXTS, PLAIN, cache)
    counted.clear()
    again = read_activations(tiny(), [*TEXTS, "Something new."], PLAIN, cache)
    assert [n for n, _ in counted] == [1]
    assert (again.n_computed, again.n_cached) == (1, len(set(TEXTS)))
    assert torch.equal(again.pooled[:-1], first.pooled)


def test_the_second_content_rule_brings_the_third(
    tmp_path: Path, counted: list[tuple[int, int]]
) -> None:
    cache = ActivationCache(tmp_path)
    read_activations(tiny(), TEXTS, PLAIN, cache)
    computed = []
    for rule in CONTENT_RULES:
        expected = reference(tiny(), rule)
        counted.clear()
        found = read_activations(tiny(), TEXTS, replace(PLAIN, read=rule), cache)
        computed.append(len(counted) > 0)
        assert relative_difference(found.pooled, expected) < 1e-4
    assert computed == [False, True, False]
    found = read_activations(tiny(), TEXTS, replace(PLAIN, read="template_last"), cache)
    assert found.n_computed == len(set(TEXTS))


@pytest.mark.parametrize(
    "changes",
    [{"layer_type": "mlp"}, {"max_length": 200}],
    ids=["layer type", "maximum length"],
)
def test_other_settings_do_not_find_these_activations(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    cache = ActivationCache(tmp_path)
    read_activations(tiny(), TEXTS, SETTINGS, cache)
    assert read_activations(tiny(), TEXTS, replace(SETTINGS, **changes), cache).n_cached == 0


def test_the_same_weights_run_with_another_config_do_not_find_these_activations(
    tmp_path: Path,
) -> None:
    cache = ActivationCache(tmp_path)
    read_activations(tiny("mixtral"), TEXTS, SETTINGS, cache)
    other = loaded(build("mixtral", num_experts_per_tok=1), tiny_tokenizer())
    assert other.fingerprint == tiny("mixtral").fingerprint
    assert read_activations(other, TEXTS, SETTINGS, cache).n_cached == 0


def test_kept_tokens_are_spread_over_the_content(tmp_path: Path) -> None:
    model, text = tiny(), TEXTS[1]
    framed = model.frame.frame(text, 256)
    states = hidden_states(model, text)
    content = range(framed.content_start, framed.content_stop)
    expected = [content[(2 * i + 1) * len(content) // 8] for i in range(4)]
    cache = ActivationCache(tmp_path)
    for settings in (SETTINGS, PLAIN, replace(PLAIN, read="template_last")):
        found = read_activations(model, TEXTS, settings, cache, {text: 4, "x": 9})
        assert found.kept.shape == (5, model.n_layers, model.d_model)
        assert relative_difference(found.kept[:4, 0], states[0, expected]) < 1e-4
        again = read_activations(model, TEXTS, settings, cache, {text: 4, "x": 9})
        assert again.n_computed == 0
        assert torch.equal(again.kept, found.kept)
    assert read_activations(model, TEXTS, SETTINGS, cache).kept.shape[0] == 0


def test_long_texts_are_cut_and_named() -> None:
    found = read_activations(tiny(), TEXTS, CaptureSettings(max_length=12))
    expected = tuple(t for t in dict.fromkeys(TEXTS) if tiny().frame.frame(t, 12).truncated)
    assert found.truncated == expected
    assert 0 < len(expected) < len(set(TEXTS))


def test_progress_counts_texts_and_ends_at_the_total() -> None:
    seen: list[Progress] = []
    read_activations(tiny(), TEXTS, CaptureSettings(batch_size=3), report=seen.append)
    assert [(p.done, p.total) for p in seen] == [(0, 7), (3, 7), (6, 7), (7, 7)]
    assert {p.stage for p in seen} == {"Reading texts"}


def n_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_cancelling_leaves_no_hooks_and_keeps_what_was_computed(tmp_path: Path) -> None:
    cache, before = ActivationCache(tmp_path), n_hooks(tiny().model)

    def stop_after_three(progress: Progress) -> None:
        if progress.done >= 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        read_activations(
            tiny(), TEXTS, CaptureSettings(batch_size=3), cache, report=stop_after_three
        )
    assert n_hooks(tiny().model) == before
    assert read_activations(tiny(), TEXTS, SETTINGS, ActivationCache(tmp_path)).n_cached == 3


def test_an_error_inside_the_model_leaves_no_hooks() -> None:
    model = tiny().model
    before = n_hooks(model)

    def fail(_layer: int, _activation: Tensor) -> None:
        raise ValueError("from inside")

    with (
        pytest.raises(ValueError, match="from inside"),
        recording(model, tiny().blocks(), fail),
    ):
        bare_model(model)(input_ids=torch.tensor([[1, 2, 3]]))
    assert n_hooks(model) == before


def test_results_are_ordinary_tensors_and_a_training_model_is_put_back() -> None:
    model = loaded(build("llama"), tiny_tokenizer())
    model.model.train()
    found = read_activations(model, TEXTS, SETTINGS)
    assert model.model.training
    assert not found.pooled.is_inference()
    assert (
        relative_difference(found.pooled, read_activations(tiny(), TEXTS, SETTINGS).pooled) < 1e-4
    )


def test_bfloat16_is_pooled_in_float32() -> None:
    low = loaded(nn.Module.to(build("llama"), torch.bfloat16), tiny_tokenizer())
    found = read_activations(low, TEXTS, SETTINGS)
    assert found.pooled.dtype == torch.float32
    assert relative_difference(found.pooled, read_activations(tiny(), TEXTS, SETTINGS).pooled) < 0.1
    assert not torch.equal(found.pooled, found.pooled.bfloat16().float())


class Full:
    """Makes a model's decoder run out of memory above `room` tokens at once."""

    def __init__(self, model: LoadedModel, room: int, error: Exception) -> None:
        self.room, self.error, self.refused = room, error, 0
        self.handle = bare_model(model.model).register_forward_pre_hook(
            self.check, with_kwargs=True
        )

    def check(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > self.room:
            self.refused += 1
            raise self.error


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ..."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 2684354560 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB). Tried to allocate 2.50 GiB"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "mps"])
@pytest.mark.parametrize("settings", [SETTINGS, PLAIN], ids=["prefix", "plain"])
def test_out_of_memory_makes_batches_smaller_and_says_so(
    error: Exception, settings: CaptureSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_module, "MIN_SAVED_TOKENS", 1)
    expected = read_activations(tiny(), TEXTS, settings).pooled
    full = Full(tiny(), 150, error)
    notes: list[str] = []
    try:
        found = read_activations(
            tiny(), TEXTS, settings, report=lambda progress: notes.append(progress.note)
        )
    finally:
        full.handle.remove()
    assert full.refused > 0
    assert relative_difference(found.pooled, expected) < 1e-4
    assert "Memory ran out" in found.notes[-1]
    assert found.notes[-1] in notes
    assert len(found.notes) <= full.refused


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "mps"])
def test_no_room_for_one_text_says_how_much_was_needed(error: Exception) -> None:
    before = n_hooks(tiny().model)
    full = Full(tiny(), 20, error)
    try:
        with pytest.raises(UserError, match=r"one text of \d+ tokens: 2.50 GiB more was needed"):
            read_activations(tiny(), TEXTS, PLAIN)
    finally:
        full.handle.remove()
    assert n_hooks(tiny().model) == before


def test_another_error_of_the_model_is_not_taken_for_a_lack_of_memory() -> None:
    full = Full(tiny(), 150, RuntimeError("shapes do not match"))
    try:
        with pytest.raises(RuntimeError, match="shapes do not match"):
            read_activations(tiny(), TEXTS, PLAIN)
    finally:
        full.handle.remove()


def test_memory_running_out_over_the_prefix_is_not_remembered(
    counted: list[tuple[int, int]],
) -> None:
    full = Full(tiny(), 8, OUT_OF_MEMORY[0])
    try:
        with pytest.raises(UserError):
            read_activations(tiny(), TEXTS, SETTINGS)
    finally:
        full.handle.remove()
    counted.clear()
    assert read_activations(tiny(), TEXTS, SETTINGS).notes == ()
    assert counted[-1][1] < min(len(tiny().frame.frame(t, 256).token_ids) for t in TEXTS) + 50


def test_a_text_beyond_the_models_context_is_refused_by_name() -> None:
    model = replace(tiny(), context_length=40)
    with pytest.raises(UserError, match="reads at most 40"):
        read_activations(model, TEXTS, SETTINGS)


def test_numbers_that_overflow_are_refused() -> None:
    broken = build("llama")
    next(broken.parameters()).data.fill_(float("inf"))
    with pytest.raises(UserError, match="overflow in float32"):
        read_activations(loaded(broken, tiny_tokenizer()), TEXTS, PLAIN)


def test_a_module_that_is_no_block_part_is_refused() -> None:
    model = tiny()
    settings = CaptureSettings(
        layer_type="odd", layer_config=(("odd", "model.layers.{num}.mlp.act_fn"),)
    )
    assert read_activations(model, TEXTS, settings).pooled.shape[-1] == 64
    paths = replace(model.blocks(), names=("lm_head",) * model.n_layers)
    odd = replace(model)
    object.__setattr__(odd, "blocks", lambda *_: paths)
    with pytest.raises(UserError, match="did not run this module"):
        read_activations(odd, TEXTS, PLAIN)


@pytest.mark.parametrize(
    "changes",
    [{"read": "content_first"}, {"max_length": 0}, {"token_budget": 0}, {"batch_size": 0}],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        CaptureSettings(**changes)


def test_no_texts_at_all_are_refused() -> None:
    with pytest.raises(UserError, match="no texts"):
        read_activations(tiny(), [], SETTINGS)


def test_nothing_of_the_other_read_rules_is_kept(tmp_path: Path) -> None:
    cache = ActivationCache(tmp_path)
    found = read_activations(tiny(), TEXTS, PLAIN, cache, {TEXTS[1]: 4})
    numbers = len(set(TEXTS)) + len(found.tokens.parts)
    assert cache.summary().bytes == numbers * tiny().n_layers * tiny().d_model * 4
    assert isinstance(found.rows, Rows)
    rows = found.rows.parts
    assert torch.equal(found.pooled, torch.stack(rows))
    assert found.rows.parts[0].data_ptr() == found.pooled.data_ptr() != rows[0].data_ptr()
