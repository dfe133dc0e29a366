import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from readout_ui.errors import UserError
from readout_ui.inference.decoding import Live
from readout_ui.inference.forward import perplexity, read_chat
from readout_ui.inference.generation import (
    Generated,
    frame_for_answer,
    generate,
    generate_batch,
)
from readout_ui.inference.reading import Reading
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.prompt import FramedChat
from readout_ui.progress import Cancelled
from readout_ui.vectors.vectors import ConceptVectors
from tests.support.architectures import CACHE_LOSES_STATE, available
from tests.support.loaded_tiny import load_tiny, random_vectors

GREEDY = Sampling(temperature=0, max_new_tokens=8)
LLAMA = load_tiny()
VECTORS = random_vectors(LLAMA)
QUESTIONS = ("How are you?", "I feel afraid, and my hands shake. What now?", "Go")


def asked(model: LoadedModel, question: str = QUESTIONS[0], system: str = "") -> FramedChat:
    return frame_for_answer(model, [Turn("user", question)], system)


def assert_same_scores(live: Reading | None, offline: Reading, relative: float = 1e-3) -> None:
    """All three units agree to a share of the largest score."""
    assert live is not None
    assert (live.tokens, live.roles, live.layers) == (offline.tokens, offline.roles, offline.layers)
    np.testing.assert_array_equal(live.scored, offline.scored)
    for kind in ("raw", "cosine", "z"):
        expected = offline.scores(kind)
        reach = relative * float(np.abs(expected).max())
        np.testing.assert_allclose(live.scores(kind), expected, atol=reach, rtol=0)


def assert_equals_offline(
    model: LoadedModel, vectors: ConceptVectors, made: Generated, relative: float = 1e-3
) -> None:
    assert_same_scores(made.reading, read_chat(model, vectors, made.whole), relative)


@pytest.mark.parametrize("name", available())
def test_the_readout_equals_an_offline_read_of_the_finished_text(name: str) -> None:
    model = load_tiny(name)
    vectors = random_vectors(model)
    made = generate(model, asked(model), GREEDY, vectors=vectors)
    assert len(made.token_ids) > 1
    assert_equals_offline(model, vectors, made)


@pytest.mark.parametrize("name", [name for name in available() if name not in CACHE_LOSES_STATE])
def test_rows_of_a_left_padded_batch_read_as_each_alone(name: str) -> None:
    model = load_tiny(name)
    vectors = random_vectors(model)
    prompts = [asked(model, question) for question in QUESTIONS]
    batch = generate_batch(model, prompts, GREEDY, vectors=vectors)
    for prompt, row in zip(prompts, batch, strict=True):
        alone = generate(model, prompt, GREEDY, vectors=vectors)
        assert row.token_ids == alone.token_ids
        assert alone.reading is not None
        assert_same_scores(row.reading, alone.reading)


def test_a_model_that_reads_padding_continues_prompts_one_after_another() -> None:
    model = load_tiny("recurrent-gemma")
    vectors = random_vectors(model)
    prompts = [asked(model, question) for question in QUESTIONS]
    if "recurrent-gemma" in CACHE_LOSES_STATE:  # then no answer of it is right
        with pytest.raises(UserError, match="reads a token otherwise behind its cache"):
            generate_batch(model, prompts, GREEDY, vectors=vectors)
        return
    batch = generate_batch(model, prompts, GREEDY, vectors=vectors)
    for prompt, row in zip(prompts, batch, strict=True):
        assert row.token_ids == generate(model, prompt, GREEDY).token_ids
        assert_equals_offline(model, vectors, row)
    assert len(generate_batch(model, prompts[:1] * 2, GREEDY, on_text=lambda _rows: None)) == 2
    with pytest.raises(UserError, match="reads the padding before a shorter prompt"):
        generate_batch(model, prompts, GREEDY, on_text=lambda _rows: None)


def test_the_bundled_model_says_the_same_with_and_without_a_readout(
    bundled_model: LoadedModel,
) -> None:
    vectors = random_vectors(bundled_model, layers=(9, 18, 29))
    prompt = asked(bundled_model, "Name a colour.", "Answer in one word.")
    sampling = Sampling(max_new_tokens=12, seed=3)
    plain = generate(bundled_model, prompt, sampling)
    read = generate(bundled_model, prompt, sampling, vectors=vectors)
    assert read.token_ids == plain.token_ids
    assert plain.reading is None
    assert_equals_offline(bundled_model, vectors, read)
    assert "<|im_end|>" not in read.text


def test_the_same_seed_says_the_same_and_another_does_not() -> None:
    def said(seed: int) -> tuple[int, ...]:
        sampling = Sampling(temperature=1.5, top_p=1, max_new_tokens=16, seed=seed)
        return generate(LLAMA, asked(LLAMA), sampling).token_ids

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_torchs_own_chance_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    generate(LLAMA, asked(LLAMA), Sampling(max_new_tokens=3, seed=9))
    assert torch.equal(torch.rand(2), expected)


def test_settings_are_the_users_and_not_the_checkpoints() -> None:
    model = load_tiny()
    config: Any = model.model.generation_config
    config.do_sample, config.temperature, config.top_k, config.repetition_penalty = True, 9, 1, 5.0
    plain = generate(LLAMA, asked(LLAMA), GREEDY)
    assert generate(model, asked(model), GREEDY).token_ids == plain.token_ids
    free = Sampling(temperature=1.0, top_p=1, max_new_tokens=16)
    drawn = generate(LLAMA, asked(LLAMA), free)
    assert generate(model, asked(model), free).token_ids == drawn.token_ids


LEAKS: dict[str, dict[str, Any]] = {
    "guidance": {"guidance_scale": 3.0},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
    "time": {"max_time": 0.0001},
    "repeats": {"no_repeat_ngram_size": 1},
    "encoder repeats": {"encoder_repetition_penalty": 3.0},
    "several": {"num_return_sequences": 2, "do_sample": True},
    "beams": {"num_beams": 3},
    "stop strings": {"stop_strings": ["e"]},
    "no cache": {"use_cache": False},
    "suppressed": {"suppress_tokens": list(range(3, 200)), "begin_suppress_tokens": [5]},
    "bad words": {"bad_words_ids": [[token] for token in range(3, 200)]},
    "bias": {"sequence_bias": [[[token], -50.0] for token in range(3, 200)]},
    "forced": {"forced_bos_token_id": 5, "forced_eos_token_id": 6},
    "length": {"min_length": 99, "max_length": 3, "exponential_decay_length_penalty": [1, 9.0]},
    "assistant": {"assistant_early_exit": 1, "is_assistant": True},
    "dola": {"dola_layers": "low"},
    "offloaded": {"cache_implementation": "offloaded"},
    "static": {"cache_implementation": "static"},
    "outputs": {"output_scores": True, "return_dict_in_generate": True, "output_logits": True},
    "states": {"output_attentions": True, "output_hidden_states": True},
    "prefill": {"prefill_chunk_size": 4},
    "sampling": {"do_sample": True, "temperature": 9.0, "min_p": 0.9, "typical_p": 0.2},
    "watermark": {"watermarking_config": {"bias": 9.0}},
}


@pytest.mark.parametrize("place", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("leak", LEAKS)
def test_no_choice_of_a_checkpoint_reaches_an_answer(
    place: str, leak: str, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    (folder / "generation_config.json").unlink()
    file = folder / place
    given = json.loads(file.read_text()) if file.is_file() else {}
    more = {"return_dict": False, "torchscript": True} if place == "config.json" else {}
    file.write_text(json.dumps({**given, **LEAKS[leak], **more}))
    model = load_model(ModelSpec(str(folder), device="cpu", dtype="fp32"))
    before = model.model.generation_config
    made = generate(model, asked(model), GREEDY, vectors=VECTORS)
    assert made.token_ids == generate(LLAMA, asked(LLAMA), GREEDY).token_ids
    assert_equals_offline(model, VECTORS, made)
    assert model.model.generation_config is before
    assert perplexity(model, made.whole.token_ids, 4) is not None


def test_a_pass_that_is_fed_other_tokens_than_the_answers_is_refused() -> None:
    model = load_tiny()
    whole: Any = model.model
    real = whole.prepare_inputs_for_generation

    @wraps(real)  # transformers looks at its parameters
    def twice(ids: Any, **options: Any) -> Any:
        given = real(ids, **options)
        if ids.shape[1] > len(asked(model).token_ids):
            given["input_ids"] = given["input_ids"].repeat(1, 2)
            given["attention_mask"] = given["position_ids"] = None
        return given

    whole.prepare_inputs_for_generation = twice
    with pytest.raises(UserError, match=r"fed \(1, 2\) tokens that are not the next \(1, 1\)"):
        generate(model, asked(model), GREEDY, vectors=VECTORS)
    assert not any(module._forward_pre_hooks for module in whole.modules())


def test_an_answer_ends_at_the_end_of_its_turn() -> None:
    model = load_tiny()
    wanted = generate(LLAMA, asked(LLAMA), GREEDY).token_ids
    config: Any = model.model.generation_config
    config.eos_token_id = [wanted[3], max(wanted) + 1]
    made = generate(model, asked(model), GREEDY, vectors=VECTORS)
    first = wanted.index(wanted[3]) + 1
    assert made.token_ids == wanted[:first]
    assert made.finish == "end"
    assert_equals_offline(model, VECTORS, made)


def test_the_token_around_a_turn_ends_it_and_belongs_to_the_template() -> None:
    model = load_tiny()
    end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    whole: Any = model.model
    head = whole.get_output_embeddings()
    head.weight[end] = 100 * head.weight.abs().max()  # the likeliest or the unlikeliest
    made = generate(model, asked(model), Sampling(temperature=3.0, max_new_tokens=64))
    assert made.finish == "end"
    assert made.token_ids[-1] == end
    assert made.roles[-1] == "template"
    assert set(made.roles[:-1]) <= {"assistant", "template"}


@pytest.mark.parametrize("after", [1, 4])
def test_a_stop_ends_the_answer_within_one_token(after: int) -> None:
    seen: list[int] = []
    made = generate(
        LLAMA,
        asked(LLAMA),
        GREEDY,
        vectors=VECTORS,
        on_text=lambda live: seen.append(live.n_tokens),
        stop=lambda: len(seen) >= after - 1,
    )
    assert (len(made.token_ids), made.finish, seen) == (after, "stopped", list(range(1, after + 1)))
    assert_equals_offline(LLAMA, VECTORS, made)


def test_one_row_of_a_batch_may_end_before_the_others() -> None:
    model = load_tiny()
    prompts = [asked(model, question) for question in QUESTIONS]
    alone = [generate(model, prompt, GREEDY).token_ids for prompt in prompts]
    config: Any = model.model.generation_config
    config.eos_token_id = alone[1][2]
    batch = generate_batch(model, prompts, GREEDY, vectors=VECTORS)
    assert len(batch[1].token_ids) <= 3
    assert max(len(row.token_ids) for row in batch) > len(batch[1].token_ids)
    for row in batch:
        assert_equals_offline(model, VECTORS, row)


def test_while_it_grows_only_new_scores_are_asked_for_and_they_are_the_final_ones() -> None:
    pieces: list[Reading] = []
    texts: list[str] = []

    def take(live: Live) -> None:
        texts.append(live.text)
        read = live.reading(start=sum(len(piece.tokens) for piece in pieces))
        assert read is not None
        pieces.append(read)

    prompt = asked(LLAMA)
    made = generate(LLAMA, prompt, GREEDY, vectors=VECTORS, on_text=take)
    assert made.reading is not None
    assert [len(piece.tokens) for piece in pieces] == [len(prompt.token_ids), *[1] * 7]
    np.testing.assert_array_equal(np.concatenate([p.z for p in pieces]), made.reading.z[:-1])
    scored = np.concatenate([piece.scored for piece in pieces])
    np.testing.assert_array_equal(scored, made.reading.scored[:-1])
    assert made.text.startswith(texts[-2])


def test_half_a_character_is_not_shown_before_its_other_half() -> None:
    letters: list[str] = []
    made = generate(
        LLAMA,
        asked(LLAMA),
        Sampling(temperature=2.0, top_p=1, max_new_tokens=24),
        on_text=lambda live: letters.append(live.text[-1:]),
    )
    assert "\ufffd" in made.text or made.text.isascii()
    assert "\ufffd" not in letters


def test_the_prompt_keeps_its_roles_and_its_last_token_is_read_as_offline() -> None:
    prompt = asked(LLAMA, system="Be brief.")
    made = generate(LLAMA, prompt, GREEDY, vectors=VECTORS)
    assert made.reading is not None
    assert made.reading.roles[: len(prompt.roles)] == tuple(map(str, prompt.roles))
    assert {"system", "user", "template", "assistant"} == set(made.reading.roles)
    offline = read_chat(LLAMA, VECTORS, prompt)
    np.testing.assert_allclose(made.reading.z[len(prompt.token_ids) - 1], offline.z[-1], rtol=1e-3)


def test_a_prompt_beyond_the_context_window_is_refused_with_both_lengths() -> None:
    model = load_tiny(context_length=40)
    prompt = asked(model, "calm " * 60)
    with pytest.raises(UserError, match=rf"{len(prompt.token_ids)} tokens, tiny takes 40"):
        generate(model, prompt, GREEDY)


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_too() -> None:
    prompt = asked(LLAMA)
    model = load_tiny(context_length=len(prompt.token_ids))
    with pytest.raises(UserError, match="no room for an answer"):
        generate(model, prompt, GREEDY)


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_an_answer_that_the_context_window_cuts_says_so(name: str) -> None:
    n_prompt = len(asked(LLAMA).token_ids)
    size = "n_positions" if name == "gpt2" else "max_position_embeddings"
    model = load_tiny(name, context_length=n_prompt + 3, **{size: n_prompt + 3})
    made = generate(model, asked(model), GREEDY, vectors=random_vectors(model))
    assert (len(made.token_ids), made.finish) == (3, "length")
    assert f"{n_prompt + 3} tokens left room for 3 new tokens, not 8" in made.note


def test_vectors_of_another_model_are_refused_before_anything_runs() -> None:
    wide = load_tiny(hidden_size=64)
    with pytest.raises(UserError, match="d_model 64, tiny has 32"):
        generate(LLAMA, asked(LLAMA), GREEDY, vectors=random_vectors(wide))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_nothing_of_the_model_is_changed_even_when_it_is_cancelled(name: str) -> None:
    model = load_tiny(name)
    model.model.train()

    def cancel(_live: Live) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        generate(model, asked(model), GREEDY, vectors=random_vectors(model), on_text=cancel)
    assert not any(module._forward_hooks for module in model.model.modules())
    assert model.model.training


def test_steering_is_open_around_every_pass_and_the_readout_sees_it() -> None:
    opened: list[FramedChat] = []
    block = LLAMA.model.get_submodule("model.layers.0")

    @contextmanager
    def zeroed(prompt: FramedChat) -> Iterator[None]:
        opened.append(prompt)
        handle = block.register_forward_hook(lambda _m, _i, output: _zeros(output))
        try:
            yield
        finally:
            handle.remove()

    prompt = asked(LLAMA)
    made = generate(LLAMA, prompt, GREEDY, vectors=VECTORS, steering=zeroed)
    assert opened == [prompt]
    assert made.reading is not None
    assert not made.reading.raw[:, 0].any()
    assert not block._forward_hooks


def _zeros(output: Any) -> Any:
    if isinstance(output, tuple):
        return (torch.zeros_like(output[0]), *output[1:])
    return torch.zeros_like(output)


def test_a_chat_without_turns_has_nothing_to_answer() -> None:
    with pytest.raises(UserError, match="nothing to answer"):
        frame_for_answer(LLAMA, [], "You are kind.")


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("temperature", -0.1, "temperature is -0.1; give a number 0"),
        ("top_p", 0, "top p is 0"),
        ("top_p", 1.5, "give a number 0.0 to 1.0"),
        ("top_k", 2.5, "give a whole number"),
        ("max_new_tokens", 0, "give a whole number 1"),
        ("seed", -1, "seed is -1"),
        ("repetition_penalty", float("nan"), "repetition penalty is nan"),
        ("temperature", None, "temperature is None"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(
    setting: str, value: Any, told: str
) -> None:
    wrong: Callable[..., Sampling] = Sampling
    with pytest.raises(UserError, match=told):
        wrong(**{setting: value})


def test_so_cold_that_only_the_likeliest_token_is_left() -> None:
    cold = Sampling(temperature=1e-320, max_new_tokens=8)
    made = generate(LLAMA, asked(LLAMA), cold)
    assert made.token_ids == generate(LLAMA, asked(LLAMA), GREEDY).token_ids


def test_every_turn_of_a_chat_is_framed_for_the_answer() -> None:
    turns: Sequence[Turn] = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")]
    framed = frame_for_answer(LLAMA, turns, "s")
    text = str(LLAMA.tokenizer.decode(list(framed.token_ids)))
    assert text.endswith("<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n")
    assert "<|im_start|>system\ns<|im_end|>" in text
