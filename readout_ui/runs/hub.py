"""Exports pushed to a repository of the Hugging Face hub, private unless said otherwise.

Nothing here is called unless a person asks for it by the repository's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from readout_ui.errors import UserError, required
from readout_ui.models.checkpoints import unreachable_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LONGEST_NAME = 96
_OF_THE_HUB = frozenset([".gitattributes"])
"""Files that the hub itself puts into a repository."""
NO_TOKEN = "there is no hub token on this machine"
GET_TOKEN = "run `hf auth login` or set HF_TOKEN to a token that may write"
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Pushed:
    """An export on the hub."""

    url: str
    """Of the repository."""
    private: bool
    """Whether only its owner sees it."""
    commit: str
    """What the hub calls the commit."""

    def sentence(self) -> str:
        """Where it is and who sees it."""
        who = "private" if self.private else "public: everyone can read it"
        return f"Pushed to {self.url} ({who}), commit {self.commit[:12]}"


def hub_token() -> str | None:
    """The token that `hf auth login` or HF_TOKEN left on this machine; None without one."""
    from huggingface_hub import get_token

    return get_token()


def check_repository(name: str) -> str:
    """The name, if it is one a repository can have.

    Raises:
        UserError: it is not OWNER/NAME.
    """
    cleaned = name.strip()
    parts = cleaned.split("/")
    sound = len(parts) == 2 and all(_NAME.fullmatch(part) for part in parts)
    if not sound or "--" in cleaned or ".." in cleaned or len(cleaned) > _LONGEST_NAME:
        raise UserError(
            f"{cleaned[:100]!r} cannot be the name of a repository",
            fix="write OWNER/NAME with letters, digits and single . _ or - between them",
        )
    if cleaned.endswith(".git"):
        raise UserError(f"{cleaned!r} ends in .git", fix=f"write {cleaned.removesuffix('.git')}")
    return cleaned


def push(files: Mapping[str, bytes], repository: str, *, public: bool = False) -> Pushed:
    """Create the repository if it is missing and put the files into it with one commit.

    Args:
        files: an export's files by name.
        repository: OWNER/NAME.
        public: let everyone read it; without this a repository that is public is refused.

    Raises:
        UserError: a bad name, no token, a token that is refused or may not write, a repository
            that holds something else or is public, or a hub that does not answer.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    name = check_repository(repository)
    token = hub_token()
    if token is None:
        raise UserError(NO_TOKEN, fix=GET_TOKEN)
    api = HfApi(token=token, library_name="readout-ui")
    private = _reach(name, lambda: _created(api, name, files, public))
    additions = [CommitOperationAdd(file, raw) for file, raw in sorted(files.items())]
    commit = _reach(
        name,
        lambda: api.create_commit(name, additions, commit_message="Export of Readout Studio"),
    )
    return Pushed(f"{api.endpoint}/{name}", private, str(commit.oid))


def _created(api: HfApi, name: str, files: Mapping[str, bytes], public: bool) -> bool:
    """Whether the repository, new or fit to be written to, is private."""
    from huggingface_hub import errors

    try:
        api.create_repo(name, private=not public, repo_type="model")
        return not public
    except errors.HfHubHTTPError as error:
        # 409: it exists. A token for that repository alone may not create any.
        if _status(error) not in (401, 403, 409):
            raise
        try:
            info = api.model_info(name)
        except errors.HfHubHTTPError:
            raise error from None
    held = {sibling.rfilename for sibling in info.siblings or ()}
    if foreign := sorted(held - files.keys() - _OF_THE_HUB):
        raise UserError(
            f"the repository holds {foreign[0]}, so it is no earlier export of these vectors",
            where=name,
            fix="name a new repository",
        )
    if not (info.private or public):
        raise UserError(
            "the repository exists and is public",
            where=name,
            fix="say that it may be public (--public), or name a new one",
        )
    return bool(info.private)


def _reach(name: str, ask: Callable[[], Answer]) -> Answer:
    """Ask the hub; every way in which that fails becomes one sentence."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.HfHubHTTPError as error:
        raise _refused(name, error) from error
    except errors.OfflineModeIsEnabled as error:
        raise UserError(
            "the hub's client is told to stay offline", fix="unset HF_HUB_OFFLINE"
        ) from error
    except unreachable_errors() as error:
        raise UserError(
            "the hub does not answer", where=name, fix="check the network and try again"
        ) from error
    except (RuntimeError, ValueError) as error:  # what the upload of large files raises
        reason = str(error.__cause__ or error).splitlines()
        raise UserError(
            f"the upload failed ({reason[0] if reason else type(error).__name__})",
            where=name,
            fix="try again",
        ) from error


def _refused(name: str, error: Exception) -> UserError:
    status = _status(error)
    if status == 401:
        return UserError("the hub refused the token", fix=GET_TOKEN)
    if status == 403:
        return UserError(
            "the token may not write there",
            where=name,
            fix="name a repository of your own, or take a token with write permission",
        )
    said = required(error, "server_message", "huggingface_hub") or ""
    return UserError(
        f"the hub answered {status}{f' ({said})' if said else ''}", where=name, fix="try again"
    )


def _status(error: Exception) -> int | None:
    response = required(error, "response", "huggingface_hub")
    return None if response is None else required(response, "status_code", "huggingface_hub")
