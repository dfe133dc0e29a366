"""Where a model's files are: bundled, in a folder, packed, in the hub's cache or on the hub."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from readout_ui.errors import UserError, required
from readout_ui.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from readout_ui.models.packed import (
    BUNDLED,
    INSTALL_BUNDLED,
    bundled_folder,
    bundled_gguf,
    is_converted,
    unpacked_folder,
)
from readout_ui.models.weights import (
    read_json,
    require_no_pointer,
    weight_names,
)
from readout_ui.progress import Progress, Report

if TYPE_CHECKING:
    from huggingface_hub import CachedRevisionInfo
    from huggingface_hub.hf_api import ModelInfo

HUB_SECONDS = 8
"""How long the hub may take to answer before it counts as out of reach."""
_BUNDLED_NAMES = (BUNDLED, f"HuggingFaceTB/{BUNDLED}")
Answer = TypeVar("Answer")
_NETWORK_ERRORS = {"requests": "RequestException", "httpx": "HTTPError", "httpx2": "HTTPError"}
_NOT_CAUSAL = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
_TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")


@dataclass(frozen=True)
class Checkpoint:
    """A model on this disk."""

    name: str
    """Hub id, the bundled model's name, or the folder's name."""
    revision: str
    """The hub's commit hash; empty for a folder."""
    folder: Path
    """Where config, weights and tokenizer are."""
    adapter: Path | None = None
    """Folder of an adapter that is merged into the weights after loading."""


def find_checkpoint(
    model: str,
    revision: str | None,
    trust_remote_code: bool,
    report: Report,
    own_tokenizer: bool = False,
) -> Checkpoint:
    """The files of a model: bundled, a folder or GGUF file, the hub's local cache, or the hub.

    Args:
        model: hub id, folder, GGUF file or the bundled model's name.
        revision: branch, tag or commit on the hub.
        trust_remote_code: whether files with code are wanted too.
        report: told while files are fetched or unpacked.
        own_tokenizer: whether the caller brings a tokenizer, so that a GGUF file needs none.

    Raises:
        UserError: there is no such model, or no way to reach it.
    """
    if is_bundled(model) and (bundled_gguf() is not None or is_converted()):
        return Checkpoint(BUNDLED, "", bundled_folder(report))
    if _looks_like_path(model):
        path = Path(model).expanduser().resolve()
        if path.is_file() and path.suffix.lower() == ".gguf":
            return _packed(path, own_tokenizer, report)
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise UserError(
                f"the model folder {model!r} {what}", fix="give a folder, a .gguf file or a hub id"
            )
        found = Checkpoint(path.name, "", path)
    else:
        hub_id = _BUNDLED_NAMES[1] if is_bundled(model) else model
        cached, lacks = _cached(hub_id, revision)
        found = cached or _downloaded(hub_id, revision, trust_remote_code, report, lacks)
    return _opened(found, trust_remote_code, own_tokenizer, report)


def _opened(
    found: Checkpoint, trust_remote_code: bool, own_tokenizer: bool, report: Report
) -> Checkpoint:
    """What a folder holds: a model, a GGUF file, or an adapter for a model elsewhere."""
    folder = found.folder
    for file in folder.iterdir():
        if any(file.match(pattern) for pattern in _TEXT_FILES):
            require_no_pointer(file)
    if (folder / "config.json").is_file():
        return found
    if (folder / ADAPTER_CONFIG).is_file():
        return _adapted(found, trust_remote_code, report)
    packed = sorted(file for file in folder.glob("*.gguf") if "mmproj" not in file.name)
    if len(packed) == 1:
        return _packed(packed[0], own_tokenizer, report)
    if packed:
        raise UserError(
            f"the folder {found.name!r} has {len(packed)} GGUF files",
            fix="give one of them as the model",
            options=[str(file) for file in packed],
        )
    raise UserError(
        f"the folder {found.name!r} has no config.json, so it is no model",
        fix="give a folder that holds config.json, weights and tokenizer, a .gguf file or a hub id",
    )


def _packed(gguf: Path, own_tokenizer: bool, report: Report) -> Checkpoint:
    require_no_pointer(gguf)
    return Checkpoint(gguf.stem, "", unpacked_folder(gguf, not own_tokenizer, report))


def _adapted(found: Checkpoint, trust_remote_code: bool, report: Report) -> Checkpoint:
    """The model that an adapter was made for, with the adapter to be merged into it."""
    base = str(read_json(found.folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    if not base:
        raise UserError("this adapter does not say which model it is for", where=found.name)
    stacked = UserError(
        f"{found.name} is an adapter for {base}, which is an adapter itself",
        fix="merge that one into its model first",
    )
    place = Path(base).expanduser()
    if (place / ADAPTER_CONFIG).is_file() and not (place / "config.json").is_file():
        raise stacked
    try:
        model = find_checkpoint(base, None, trust_remote_code, report)
    except UserError as error:
        raise UserError(
            f"{found.name} is an adapter for {base}, which cannot be had ({error.what})",
            fix=f"get {base} or merge the adapter into it first",
        ) from error
    if model.adapter is not None:
        raise stacked
    return replace(model, name=found.name, revision=found.revision, adapter=found.folder)


def find_tokenizer(
    checkpoint: Checkpoint, tokenizer: str, trust_remote_code: bool, report: Report
) -> Checkpoint:
    """Where a model's tokenizer is: its own place, an adapter's, or the one that was named."""
    if tokenizer:
        if _has_tokenizer(folder := Path(tokenizer).expanduser()):
            return Checkpoint(folder.name, "", folder)
        return find_checkpoint(tokenizer, None, trust_remote_code, report)
    if checkpoint.adapter is not None and _has_tokenizer(checkpoint.adapter):
        return replace(checkpoint, folder=checkpoint.adapter)
    return checkpoint


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def is_bundled(model: str) -> bool:
    """Whether a name means the bundled model."""
    return model in _BUNDLED_NAMES


def models_here() -> tuple[tuple[str, int], ...]:
    """Models that need no network, by what `find_checkpoint` takes, with their bytes on this disk.

    The bundled one comes first, then those in the hub's cache that have a config and weights.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    packed = bundled_gguf()
    size = packed.stat().st_size if packed else 0
    bundled = ((BUNDLED, size),) if packed or is_converted() else ()
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return bundled
    found = (
        (repository.repo_id, repository.size_on_disk)
        for repository in repositories
        if repository.repo_type == "model" and any(map(_is_model, repository.revisions))
    )
    return (*bundled, *sorted(found))


def _is_model(revision: "CachedRevisionInfo") -> bool:
    names = {file.file_name for file in revision.files}
    packed = any(name.endswith((".safetensors", ".bin", ".gguf")) for name in names)
    return packed and ("config.json" in names or any(name.endswith(".gguf") for name in names))


def read_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """config.json as it is.

    Raises:
        UserError: it is missing or no JSON object.
    """
    return read_json(checkpoint.folder / "config.json", checkpoint.name)


def require_causal(checkpoint: Checkpoint, config: dict[str, Any], trusted: bool) -> None:
    """Refuse what its config says is no causal language model, or none that can run here."""
    from transformers import CONFIG_MAPPING

    kind = str(config.get("model_type", ""))
    known = kind in CONFIG_MAPPING
    if not known and "auto_map" in config and not trusted:
        raise UserError(
            f"{checkpoint.name} needs code from its own repository to run",
            fix="read that code, then pass --trust-remote-code if you trust it",
        )
    if not known and not trusted:
        import transformers

        raise UserError(
            f"this version of transformers ({transformers.__version__}) does not know the "
            f"architecture {kind!r}",
            where=checkpoint.name,
            fix="install a newer one: pip install -U transformers",
        )
    made_for = [str(name) for name in config.get("architectures") or ()]
    if config.get("is_encoder_decoder") or any(name.endswith(_NOT_CAUSAL) for name in made_for):
        what = ", ".join(made_for) or kind
        raise UserError(
            f"{checkpoint.name} is not a causal language model ({what})",
            fix="choose one whose architecture ends in ForCausalLM",
        )


def _looks_like_path(model: str) -> bool:
    return Path(model).expanduser().exists() or model.startswith((".", "/", "~")) or "\\" in model


def _cached(hub_id: str, revision: str | None) -> tuple[Checkpoint | None, str]:
    """A whole snapshot in the hub's local cache, without asking the network; or what it lacks."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        files = [
            try_to_load_from_cache(hub_id, name, revision=revision)
            for name in ("config.json", ADAPTER_CONFIG)
        ]
    except HFValidationError as error:
        raise UserError(
            f"there is no model {hub_id!r}",
            fix="give a local folder or a hub id like Qwen/Qwen2.5-0.5B-Instruct",
        ) from error
    config = next((file for file in files if isinstance(file, str)), None)
    if config is None:
        return None, ""
    folder = Path(config).parent
    try:
        if isinstance(files[0], str):
            weight_names(folder, {file.name for file in folder.iterdir()})
    except UserError as error:
        return None, error.what
    return Checkpoint(hub_id, folder.name, folder), ""


def _downloaded(
    hub_id: str, revision: str | None, trust_remote_code: bool, report: Report, lacks: str
) -> Checkpoint:
    """Everything that loading needs: texts first, among them the index that names the weights."""
    from huggingface_hub import HfApi

    report(Progress(f"Asking the hub for {hub_id}", 0, 0, "files"))

    def ask() -> "ModelInfo":
        return HfApi().model_info(
            hub_id, revision=revision, timeout=HUB_SECONDS, files_metadata=True
        )

    info = _reach_hub(hub_id, revision, ask, lacks)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    patterns = (*_TEXT_FILES, *(("*.py",) if trust_remote_code else ()))
    here = {name: size for name, size in sizes.items() if "/" not in name}
    texts = [name for name in here if any(Path(name).match(pattern) for pattern in patterns)]
    folder = _fetch(hub_id, str(info.sha), {name: here[name] for name in texts}, report)
    weights = _wanted_weights(hub_id, folder, here)
    _fetch(hub_id, str(info.sha), {name: here[name] for name in weights}, report)
    # Only a download by the revision's name notes which commit that is, for later without the hub.
    main = "config.json" if "config.json" in here else texts[0]
    _reach_hub(hub_id, revision, partial(_download, hub_id, main, revision))
    return Checkpoint(hub_id, str(info.sha), folder)


def _wanted_weights(hub_id: str, folder: Path, here: Collection[str]) -> list[str]:
    """Names of the weights to fetch."""
    if "config.json" in here:
        return weight_names(folder, here)
    adapter = [name for name in here if name in ADAPTER_WEIGHTS]
    packed = sorted(name for name in here if name.endswith(".gguf"))
    if not adapter:
        raise UserError(
            f"{hub_id} has no config.json" + (", only GGUF files" if packed else ""),
            fix="download one of them and give its path" if packed else "choose another model",
            options=packed,
        )
    return adapter[:1]


def _download(hub_id: str, name: str, revision: str | None) -> str:
    from huggingface_hub import hf_hub_download

    return hf_hub_download(hub_id, name, revision=revision)


def _fetch(hub_id: str, commit: str, sizes: Mapping[str, int], report: Report) -> Path:
    """The folder with these files of a commit."""
    total, done, path = sum(sizes.values()), 0, ""
    for name, size in sizes.items():
        report(Progress(f"Downloading {hub_id}", done >> 20, total >> 20, "MB", name))
        path = _reach_hub(hub_id, commit, partial(_download, hub_id, name, commit))
        done += size
    if not path:
        raise UserError(f"{hub_id} has no files that a model is made of")
    return Path(path).parent


def _reach_hub(
    hub_id: str, revision: str | None, ask: Callable[[], Answer], lacks: str = ""
) -> Answer:
    """Ask the hub once; every way in which that fails becomes one sentence."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.GatedRepoError as error:
        raise UserError(
            f"the hub gives {hub_id} only to people who accepted its licence",
            fix=f"accept it at https://huggingface.co/{hub_id} and run `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{hub_id} has no revision {revision!r} on the hub") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no model {hub_id!r} that you may see",
            fix="check the spelling, or run `hf auth login` if it is private",
        ) from error
    except unreachable_errors() as error:
        raise _unreachable(hub_id, lacks) from error


def unreachable_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises without a network; which library it uses depends on version."""
    from huggingface_hub import errors

    kinds: list[type[Exception]] = [errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError]
    for library, name in _NETWORK_ERRORS.items():
        if find_spec(library) is not None:
            kinds.append(required(import_module(library), name, library))
    return tuple(kinds)


def _unreachable(hub_id: str, lacks: str) -> UserError:
    state = f"not whole on this machine ({lacks})" if lacks else "not on this machine"
    what = f"{hub_id} is {state} and the hub does not answer"
    if hub_id in _BUNDLED_NAMES:
        what = f"the bundled model {BUNDLED} is not installed and the hub does not answer"
    return UserError(
        what,
        fix=f"two ways to get a model: `{INSTALL_BUNDLED}` for the bundled one, or `--model` with "
        "a local folder (or with a hub id while online)",
    )
