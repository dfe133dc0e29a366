"""Which texts stand for which concept, and which of them are contrasted in pairs."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readout_ui.errors import UserError
from readout_ui.texts.names import against_name, holds_neutral_texts, is_neutral_name


@dataclass(frozen=True)
class TextGroups:
    """Rows of one activation tensor, sorted into concepts and neutral texts."""

    concepts: tuple[str, ...]
    """Concept names, in the order of every tensor's first axis."""
    rows: tuple[tuple[int, ...], ...]
    """For each concept, the rows of its descriptions."""
    neutral: tuple[int, ...]
    """Rows of the neutral texts: negatives of every concept."""
    against: tuple[tuple[int, ...], ...] = ()
    """For each concept, the rows of the texts that it alone is contrasted with, in place of all
    others; empty where it has none, and altogether where no concept has any."""

    def __post_init__(self) -> None:
        if any(len(rows) != len(self.concepts) for rows in (self.rows, self.against or self.rows)):
            raise ValueError(f"{len(self.concepts)} concepts but {len(self.rows)} groups of rows")
        if len(set(self.concepts)) != len(self.concepts):
            raise ValueError("a concept is named twice")
        if min((row for rows in (*self.rows, self.neutral) for row in rows), default=0) < 0:
            raise ValueError("a row is negative")
        for concept, rows in zip(self.concepts, self.rows, strict=True):
            if not rows:
                raise UserError("has no description", where=concept, fix="write at least one")
        if not self.concepts:
            raise UserError("there is no concept to train", fix="write descriptions for one")
        if len(self.concepts) == 1 and not self.neutral:
            raise UserError(
                "is the only concept and there are no neutral texts to contrast it with",
                where=self.concepts[0],
                fix="add a second concept, or neutral texts in a file whose name starts with _",
            )

    def negatives(self, concept: str) -> tuple[int, ...]:
        """Rows of its own contrast texts; without any, of all other concepts in their order, then
        of the neutral texts."""
        if self.against and (own := self.against[self.concepts.index(concept)]):
            return own
        others = (
            row
            for other, rows in zip(self.concepts, self.rows, strict=True)
            if other != concept
            for row in rows
        )
        return (*others, *self.neutral)

    def all_rows(self) -> tuple[int, ...]:
        """Every concept's rows in order, then the neutral ones; repeats are kept.

        Contrast texts are not among them: they are no negatives of other concepts.
        """
        return (*(row for rows in self.rows for row in rows), *self.neutral)


def group_texts(
    texts: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], TextGroups]:
    """All texts in one row, concepts by name, neutral files, contrasts, and which is whose."""
    row: list[str] = []

    def place(added: Sequence[str]) -> tuple[int, ...]:
        row.extend(added)
        return tuple(range(len(row) - len(added), len(row)))

    concepts = sorted(name for name in texts if not is_neutral_name(name))
    rows = tuple(place(texts[name]) for name in concepts)
    others = sorted(name for name in texts if holds_neutral_texts(name))
    flat = tuple(index for name in others for index in place(texts[name]))
    against = tuple(place(texts.get(against_name(concept), ())) for concept in concepts)
    groups = TextGroups(tuple(concepts), rows, flat, against if any(against) else ())
    return tuple(row), groups


@dataclass(frozen=True)
class PairSettings:
    """How positive and negative texts are paired where a method works on pairs."""

    seed: int = 0
    """Chooses the negatives; the same seed chooses the same ones in every process."""
    max_negatives_per_positive: int = 20
    """How many negatives each positive is paired with, at most."""

    def __post_init__(self) -> None:
        if self.max_negatives_per_positive < 1:
            raise UserError(
                f"{self.max_negatives_per_positive} negatives per positive are too few",
                fix="use 1 or more",
            )


def sample_pairs(
    groups: TextGroups, concept: str, settings: PairSettings
) -> tuple[tuple[int, int], ...]:
    """Pairs (positive row, negative row): each positive with negatives drawn without repeats.

    The order of the draws is that of the seed trainer (`train_direct.py`): positives in file
    order, each with a sample from the other concepts' texts followed by the neutral ones. Its
    generator was seeded by `hash(concept)`, which differs from process to process; this one by
    the SHA-256 of seed and concept.
    """
    digest = hashlib.sha256(f"{settings.seed}:{concept}".encode()).digest()
    draws = random.Random(int.from_bytes(digest[:8], "big"))
    pool = groups.negatives(concept)
    n_negatives = min(settings.max_negatives_per_positive, len(pool))
    positives = groups.rows[groups.concepts.index(concept)]
    return tuple(
        (positive, negative)
        for positive in positives
        for negative in draws.sample(pool, n_negatives)
    )
