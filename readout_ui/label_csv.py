"""CSV and TSV as a table of texts, with or without a row of titles."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from readout_ui.errors import UserError
from readout_ui.label_tables import (
    MAX_BYTES,
    MAX_COLUMNS,
    TEXT_TITLES,
    TableRow,
    TextTable,
    bounded,
    column_names,
)

csv.field_size_limit(max(csv.field_size_limit(), MAX_BYTES))


def read_delimited(text: str, file: str) -> TextTable:
    """CSV or TSV; a first row that looks like titles names the columns.

    Raises:
        UserError: broken quoting, or a row that is longer or shorter than the first.
    """
    lines = _csv_lines(text, file)
    first = next(lines, None)
    if first is None:
        raise UserError("there is no row", where=file, fix="bring texts with labels")
    body = list(bounded(lines, file))
    width = len(first.cells)
    wrong = next((row for row in body if len(row.cells) != width), None)
    if wrong is not None:
        raise UserError(
            f"the row has {len(wrong.cells)} columns, the first has {width}",
            where=f"{file} line {wrong.line}",
            fix='put text with commas, quotes or line breaks in "quotes"',
        )
    if _are_titles(first, body):
        return TextTable(file, column_names([cell[0] for cell in first.cells]), tuple(body))
    return TextTable(file, column_names([""] * width), (first, *body))


def _csv_lines(text: str, file: str) -> Iterator[TableRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > MAX_COLUMNS:
                    raise UserError(
                        f"there are more than {MAX_COLUMNS} columns",
                        where=f"{file} line {reader.line_num}",
                    )
                yield TableRow(reader.line_num, tuple((cell,) for cell in cells))
    except csv.Error as error:
        raise UserError(
            f"the line is not CSV ({error})",
            where=f"{file} line {reader.line_num}",
            fix='put text with commas, quotes or line breaks in "quotes"',
        ) from None


def _delimiter(text: str) -> str:
    """The separator of which the first line has most, outside quotes."""
    head = next((line for line in text.split("\n") if line.strip()), "")
    bare = "".join(head.split('"')[::2])
    return max("\t,;", key=bare.count)


def _are_titles(first: TableRow, body: Sequence[TableRow]) -> bool:
    """Known titles, or single words that differ and do not come again in their column."""
    titles = [cell[0].strip() for cell in first.cells]
    folded = {title.casefold() for title in titles}
    if body and folded & set(TEXT_TITLES):
        return True
    single = all(title and len(title.split()) == 1 for title in titles)
    again = any(row.cells[i][0].strip() == title for row in body for i, title in enumerate(titles))
    return bool(body) and single and len(folded) == len(titles) and not again
