"""A readout reads, answers, steers and scores; steering ends with its block or by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from steering_vectors import SteeringVector
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.inference.decoding import Live
from readout_ui.inference.forward import frame_content, read_chat
from readout_ui.inference.readout import Readout
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, setup_json
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.models.tokens import visible_tokens
from readout_ui.models.weights import weights_fingerprint
from readout_ui.runs.run import Run
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.support.loaded_tiny import load_tiny, random_readout

TEXT = "I did not expect to see you here!"
GREEDY = Sampling(temperature=0, max_new_tokens=5)


@pytest.fixture(scope="module")
def readout() -> Readout:
    model = load_tiny()
    return random_readout(model)


@pytest.fixture(autouse=True)
def model_unchanged(readout: Readout) -> Iterator[None]:
    yield
    model = readout.model
    assert weights_fingerprint(model.model) == model.fingerprint
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())


def scores_of(readout: Readout, layer: int) -> Tensor:
    """Raw scores of one text at one layer, (n_tokens, n_concepts), by a plain call of the model."""
    reading = readout.read(TEXT, "raw")
    return torch.from_numpy(reading.raw[:, reading.layer_index(layer)])


def test_a_text_stands_where_a_training_text_stands_and_turns_are_a_chat(readout: Readout) -> None:
    model, vectors = readout.model, readout.vectors
    plain = read_chat(model, vectors, frame_content(model.frame, TEXT, "assistant"))
    np.testing.assert_array_equal(readout.read(TEXT).z, plain.z)
    chat = [Turn("user", "Hello"), Turn("assistant", TEXT)]
    as_transformers_writes = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": TEXT},
    ]
    expected = read_chat(model, vectors, frame_content(model.frame, chat, "chat"))
    for turns in (chat, as_transformers_writes):
        np.testing.assert_array_equal(readout.read(turns).z, expected.z)


@pytest.mark.parametrize("message", [{"role": "robot", "content": "x"}, {"role": "user"}])
def test_a_message_without_role_or_content_is_refused(
    readout: Readout, message: dict[str, str]
) -> None:
    with pytest.raises(UserError, match="no role or no content"):
        readout.read([message])


def test_an_answer_is_read_and_a_steered_one_differs(readout: Readout) -> None:
    seen: list[int] = []

    def count(live: Live) -> None:
        seen.append(live.n_tokens)

    plain = readout.generate("How was your day?", sampling=GREEDY, on_text=count)
    assert seen == [1, 2, 3, 4, 5]
    assert plain.reading is not None
    assert plain.reading.concepts == readout.concepts
    assert plain.text
    assert repr(plain).startswith("<Answer of 5 tokens (length): ")
    steered = readout.generate("How was your day?", {"calm": 30}, sampling=GREEDY)
    assert steered.token_ids != plain.token_ids
    again = readout.generate("How was your day?", sampling=GREEDY)
    assert again.token_ids == plain.token_ids


def test_only_the_answer_is_steered_where_that_is_asked(readout: Readout) -> None:
    plain = readout.generate("Hello", sampling=GREEDY).reading
    late = readout.generate("Hello", {"calm": 30}, where="generated", sampling=GREEDY).reading
    line = readout.generate("Hello", "30 calm @generated", sampling=GREEDY).reading
    assert plain is not None
    assert late is not None
    assert line is not None
    np.testing.assert_array_equal(line.raw, late.raw)
    n_prompt = len(plain.tokens) - 5
    np.testing.assert_allclose(late.raw[:n_prompt], plain.raw[:n_prompt], atol=1e-5)
    assert np.abs(late.raw[n_prompt:] - plain.raw[n_prompt:]).max() > 1


def test_a_plain_call_of_the_model_is_steered_inside_the_block_only(readout: Readout) -> None:
    before = scores_of(readout, 2)
    with readout.steer(calm=0.5, layers=[2]):
        inside = scores_of(readout, 2)
    moved = 0.5 * readout.norms()[2]
    torch.testing.assert_close(inside[:, 0], before[:, 0] + moved, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores_of(readout, 2), before)


def test_steering_is_taken_off_by_hand_and_after_an_error(readout: Readout) -> None:
    before = scores_of(readout, 2)
    patch = readout.steer({"calm": 3.0}, layers=[2], unit="raw")
    assert not torch.allclose(scores_of(readout, 2), before)
    patch.remove()
    patch.remove()
    torch.testing.assert_close(scores_of(readout, 2), before)
    with pytest.raises(RuntimeError, match="in the middle"), readout.steer(calm=1):
        raise RuntimeError("in the middle")
    torch.testing.assert_close(scores_of(readout, 2), before)


def test_the_best_layer_is_steered_where_none_is_named(readout: Readout) -> None:
    assert readout.best_layer == 2
    before = scores_of(readout, 0)
    with readout.steer(calm=5):
        torch.testing.assert_close(scores_of(readout, 0), before)
        assert not torch.allclose(scores_of(readout, 2)[:, 0], before[:, 0])


def test_an_own_operator_gets_activation_and_multiplied_vector(readout: Readout) -> None:
    def add_twice(activation: Tensor, vector: Tensor) -> Tensor:
        assert activation.shape[-1] == vector.shape[-1]
        return 2 * vector

    before = scores_of(readout, 2)
    with readout.steer(calm=3, layers=[2], unit="raw", operator=add_twice):
        torch.testing.assert_close(scores_of(readout, 2)[:, 0], before[:, 0] + 6)
    setup = SteeringSetup((Steer("calm", (2,), 3, operator=add_twice),))
    assert "add_twice calm" in setup.describe()
    with pytest.raises(UserError, match="a function cannot be kept in a file"):
        setup_json(setup, "tiny", "f")


def test_a_vector_of_steering_vectors_steers_as_its_own_library_does(readout: Readout) -> None:
    random = torch.Generator().manual_seed(7)
    length = readout.model.d_model
    vector = SteeringVector({0: torch.randn(length, generator=random), 2: torch.ones(length)})
    model: Any = readout.model.model
    config: Any = {"decoder_block": readout.model.blocks().template}
    with vector.apply(model, config, multiplier=0.7):
        theirs = scores_of(readout, 2)
    with readout.steer(vector, multiplier=0.7):
        ours = scores_of(readout, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    answer = readout.generate("Hello", vector, multiplier=20, sampling=GREEDY)
    assert answer.token_ids != readout.generate("Hello", sampling=GREEDY).token_ids


def test_a_vector_without_layers_is_refused(readout: Readout) -> None:
    with pytest.raises(UserError, match="one tensor"):
        readout.steer(SteeringVector({}))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "no concept is named"),
        ({"where": "generated", "calm": 1}, "prompt_length"),
        ({"rage": 1}, "rage was not trained"),
        ({"calm": 1, "layers": [1]}, "layer 1 was not trained"),
        ({"calm": 1, "operator": "push"}, "'push' is not known"),
    ],
)
def test_what_cannot_steer_is_refused_in_one_sentence(
    readout: Readout, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        readout.steer(**asked)


def test_whole_texts_are_scored_with_the_vectors_of_one_layer(readout: Readout) -> None:
    texts = ["I rest.", "I shout at them!"]
    scores = readout.score_texts(texts, 2)
    activations = readout.activations(texts, 2)
    kept = readout.vectors.select(layers=[2])
    centred = activations - kept.center[0]
    expected = centred @ kept.directions[:, 0].T / centred.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-5)
    with pytest.raises(UserError, match="layer 1 was not trained"):
        readout.score_texts(texts, 1)


def test_vectors_say_where_they_were_read(readout: Readout) -> None:
    mlp = readout.with_vectors(replace(readout.vectors, layer_type="mlp"))
    assert not np.allclose(mlp.read(TEXT).raw, readout.read(TEXT).raw)
    assert mlp.select(layers=[0]).vectors.layer_type == "mlp"


def test_directions_alone_are_read_as_before_they_were_exported(
    readout: Readout, tmp_path: Path
) -> None:
    some = readout.select(concepts=["sad"], layers=[2])
    kept = Run.open(some.run.export(tmp_path / "out", "gguf", some.concepts, some.layers))
    assert (kept.concepts, kept.layers) == (("sad",), (2,))
    again = Readout(readout.model, kept).read(TEXT)
    np.testing.assert_allclose(again.raw, some.read(TEXT).raw, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", ["kept", "readout", "npz"])
def test_a_run_of_another_module_is_read_there_after_it_was_written(
    form: str, tiny_folder: Path, descriptions: Path, tmp_path: Path
) -> None:
    model = load_model(ModelSpec(str(tiny_folder), device="cpu", dtype="fp32"))
    own = (("own", "model.layers.{num}.mlp.down_proj"),)
    for settings in (
        TrainSettings(layer_type="self_attn"),
        TrainSettings(layer_type="own", layer_config=own),
    ):
        run = train(Library(descriptions), model, settings)
        trained = Readout(model, run)
        place = tmp_path / settings.layer_type
        kept = run.save(place) if form == "kept" else Run.open(run.export(place, form))
        expected = trained.read(TEXT).z
        np.testing.assert_allclose(Readout(model, kept).read(TEXT).z, expected, atol=0.02)
        blocks = replace(trained.vectors, layer_type="decoder_block")
        assert np.abs(trained.with_vectors(blocks).read(TEXT).z - expected).max() > 1


def test_names_are_short(readout: Readout) -> None:
    things: Sequence[object] = (
        readout,
        readout.read(TEXT),
        Steer("calm", (2,)),
        SteeringSetup((Steer("calm", (2,)),)),
    )
    assert all(len(repr(thing)) < 100 for thing in things)
    assert repr(readout) == "<Readout of 3 concepts at layers 0, 2 of tiny>"
    assert "add calm +1 x norm at layer 2" in repr(things[2])


def test_what_comes_next_is_what_the_model_says_after_that_token(readout: Readout) -> None:
    ids = frame_content(readout.model.frame, TEXT, "assistant").token_ids
    position = len(ids) - 6
    found = readout.next_tokens(TEXT, position, "assistant", n=5)
    with torch.inference_mode():
        logits = readout.model.model(torch.tensor([list(ids)])).logits[0, position]
    wanted = logits.float().softmax(-1).topk(5)
    np.testing.assert_allclose([share for _, share in found], wanted.values, rtol=1e-4)
    shown = visible_tokens(readout.model.tokenizer, wanted.indices.tolist())
    assert tuple(token for token, _ in found) == shown
    with pytest.raises(UserError, match="none at position"):
        readout.next_tokens(TEXT, len(ids), "assistant")
