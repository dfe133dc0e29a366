"""Text of other people inside HTML that a page's template engine looks through."""

from html import escape


def escape_text(text: str) -> str:
    """HTML text that no template engine of the page takes for its own."""
    return (
        escape(text)
        .replace("{", "&#123;")
        .replace("}", "&#125;")
        .replace("$", "&#36;")
        .replace("`", "&#96;")
        .replace("\\", "&#92;")
        .replace("\n", "&#10;")
    )
