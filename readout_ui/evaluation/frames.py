"""Judgements as pandas tables, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from readout_ui.evaluation.resampling import Estimate
from readout_ui.vectors.auroc import Floats

if TYPE_CHECKING:
    import pandas as pd

Row = TypeVar("Row")


class Rows(tuple[Row, ...]):
    """One judgement per concept or text: a tuple that is a table as well."""

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per judgement, its fields as columns, in their units.

        A number with an interval becomes three columns: `auroc`, `auroc_low`, `auroc_high`.
        """
        return frame_of(self)

    def __repr__(self) -> str:
        kind = type(self[0]).__name__ if self else "judgement"
        return f"<{len(self)} x {kind}; .to_frame() shows them>"


def frame_of(rows: Iterable[Any]) -> pd.DataFrame:
    """A table of dataclasses of one kind; the field `concept`, where there is one, is the index."""
    import pandas as pd

    frame = pd.DataFrame([dict(_cells(row)) for row in rows])
    return frame.set_index("concept") if "concept" in frame and frame.concept.is_unique else frame


def matrix_frame(
    cells: Floats, index: Sequence[Any], columns: Sequence[Any], names: tuple[str, str]
) -> pd.DataFrame:
    """A table of (n_index, n_columns) numbers; `names` say what its two axes are."""
    import pandas as pd

    rows = pd.Index(list(index), name=names[0])
    return pd.DataFrame(cells, index=rows, columns=pd.Index(list(columns), name=names[1]))


def _cells(row: Any) -> Iterable[tuple[str, Any]]:
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Estimate):
            yield field.name, value.value
            yield f"{field.name}_low", value.low
            yield f"{field.name}_high", value.high
        elif isinstance(value, tuple):
            yield field.name, ", ".join(map(_short, value))
        elif not is_dataclass(value):
            yield field.name, value


def _short(value: Any) -> str:
    return str(getattr(value, "concept", value))
