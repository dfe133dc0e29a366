"""What the pages of the room Write may ask."""

from pydantic import Field

from readout_ui.app.events import Named, Request


class Poll(Request):
    """What the page has already."""

    revision: str = Field(max_length=64)


class Texts(Named):
    """The boxes of one concept."""

    boxes: list[str] = Field(max_length=100_000)


class Save(Texts):
    """The boxes and the fingerprint of the file they were opened from."""

    opened: str | None


class Create(Named):
    """A new concept or file of neutral texts."""

    neutral: bool


class Rename(Named):
    """A concept's new name."""

    to: str = Field(max_length=1000)


class Query(Request):
    """What is searched for."""

    query: str = Field(max_length=1000)


class Tick(Request):
    """Concepts that the next training takes, or leaves out."""

    names: list[str] = Field(max_length=100_000)
    ticked: bool


class Tagged(Named):
    """All tags of one concept."""

    tags: list[str] = Field(max_length=100)


class Members(Request):
    """A tag, and all concepts that have it."""

    tag: str = Field(max_length=1000)
    names: list[str] = Field(max_length=100_000)


class Trashed(Request):
    """One file in the trash, perhaps with another name to restore it under."""

    entry: str = Field(max_length=1000)
    to: str | None


class Stored(Named):
    """One earlier version."""

    version: str = Field(max_length=64)
