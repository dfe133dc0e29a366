"""`extract_activations` and texts without a template: against what the model itself reports."""

import doctest
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from readout_ui.activations import extract
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import extract_activations
from readout_ui.activations.pooling import preview_text
from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel
from readout_ui.models.prompt import frame_for, raw_frame
from tests.support.loaded_tiny import load_tiny

TEXTS = ["I feel calm and slow.", "I am afraid, and my hands shake.", "Nothing asks to be done."]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path))


def first_layers(model: LoadedModel, ids: list[int]) -> Tensor:
    """(n_layers - 1, n_tokens, d_model): the last hidden state comes after the final norm."""
    with torch.inference_mode():
        output = model.model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    return torch.stack(output.hidden_states[1:-1])[:, 0]


@pytest.mark.parametrize(("read", "position"), [("content_last", -1), ("token:-2", -2)])
def test_without_a_template_the_text_alone_is_read(
    model: LoadedModel, read: str, position: int
) -> None:
    found = extract_activations(TEXTS, model, read=read, frame="none")
    assert found.shape == (3, model.n_layers, model.d_model)
    for text, activation in zip(TEXTS, found, strict=True):
        expected = first_layers(model, model.tokenizer(text)["input_ids"])[:, position]
        assert torch.allclose(activation[:-1], expected, atol=1e-4)


def test_a_token_is_counted_over_the_whole_framed_text(model: LoadedModel) -> None:
    ids = list(model.frame.frame(TEXTS[0], 256).token_ids)
    for index in (0, 3, len(ids) - 1, -1, -len(ids)):
        found = extract_activations(TEXTS[:1], model, read=f"token:{index}")[0, :-1]
        assert torch.allclose(found, first_layers(model, ids)[:, index], atol=1e-4)
    with pytest.raises(UserError, match=f"no token {len(ids)} in a text of {len(ids)} tokens"):
        extract_activations(TEXTS[:1], model, read=f"token:{len(ids)}")


@pytest.mark.parametrize("frame", ["chat", "none"])
def test_an_own_mean_is_the_rule_of_that_name(model: LoadedModel, frame: str) -> None:
    def mean(hidden: Tensor, mask: Tensor) -> Tensor:
        weights = mask.float()[..., None]
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)

    found = extract_activations(TEXTS, model, pooling=mean, frame=frame, batch_size=2)
    assert torch.allclose(found, extract_activations(TEXTS, model, frame=frame), atol=1e-4)


def test_a_pooling_of_another_shape_is_refused(model: LoadedModel) -> None:
    with pytest.raises(UserError, match="the pooling returned the shape"):
        extract_activations(TEXTS, model, pooling=lambda hidden, _mask: hidden)


def test_a_module_path_may_be_a_function(model: LoadedModel) -> None:
    def path(layer: int, _model: nn.Module) -> str:
        return f"model.layers.{layer}.mlp"

    found = extract_activations(TEXTS, model, layer_type="own", layer_config={"own": path})
    assert torch.equal(found, extract_activations(TEXTS, model, layer_type="mlp"))


def test_what_is_known_is_not_read_again(model: LoadedModel, tmp_path: Path) -> None:
    first = extract_activations(TEXTS, model)
    cache = ActivationCache(tmp_path / "activations")
    assert cache.summary().entries == 3

    def stop(_progress: object) -> None:
        raise AssertionError("nothing is left to read")

    assert torch.equal(extract_activations(TEXTS, model, cache=cache, report=stop), first)
    cache.close()


@pytest.mark.parametrize(
    ("texts", "choice", "message"),
    [
        ([], {}, "no texts to read"),
        (TEXTS, {"read": "first"}, "unknown read rule 'first'"),
        (TEXTS, {"read": "token:x"}, "unknown read rule 'token:x'"),
        (TEXTS, {"frame": "letter"}, "unknown frame 'letter'"),
        (["I"], {"frame": "none"}, "two tokens or more"),
    ],
)
def test_what_cannot_be_read_is_told(
    model: LoadedModel, texts: list[str], choice: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        extract_activations(texts, model, **choice)  # type: ignore[arg-type]


def test_the_example_of_the_documentation_runs(model: LoadedModel) -> None:
    known = {"extract_activations": extract_activations, "model": model}
    example = doctest.DocTestFinder(recurse=False).find(extract_activations, globs=known)
    result = doctest.DocTestRunner().run(example[0])
    assert (result.failed, result.attempted > 3) == (0, True)
    assert extract.__doc__


def test_a_preview_says_what_is_frame_text_and_pooled(model: LoadedModel) -> None:
    shown = preview_text(model.frame, "I feel calm.", "content_last", 256)
    parts = [line.split()[1] for line in shown.lines()]
    assert parts.count("pooled") == 1
    assert parts[0] == parts[-1] == "frame"
    assert parts.index("pooled") == shown.content[1] - 1
    alone = preview_text(raw_frame(frame_for(model.tokenizer)), "I feel calm.", "token:-1", 256)
    assert [line.split()[1] for line in alone.lines()][-1] == "pooled"
    assert "".join(alone.tokens).replace("·", " ").strip() == "I feel calm."
