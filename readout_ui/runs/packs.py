"""Packs: one zip of descriptions, the vectors trained on them and a card, to share and install.

| file | what |
|---|---|
| `pack.json` | name, author, model, and the sha256 of every other file |
| `readout.safetensors`, `calibration.safetensors`, `readout.json`, `README.md` | an export |
| `NAME.txt` | the descriptions, one file for each concept, neutral texts too |
| `report.json` | the run's report, if it has one |

So a pack can be read, served and imported as texts like any export and any zip of descriptions.
A pack comes from a stranger: everything in it is bounded and checked before anything is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, StringConstraints, ValidationError
from pydantic import Field as Constrained

from readout_ui.errors import UserError, printable
from readout_ui.files import locked, sha256_of, too_large, write_file
from readout_ui.runs.export import READOUT_FILES
from readout_ui.runs.manifest import Manifest, Sha256, json_bytes
from readout_ui.runs.model_card import CARD_FILE
from readout_ui.runs.report import RunReport
from readout_ui.runs.run import Run
from readout_ui.runs.run_files import DESCRIPTIONS_FILE, names_in, read_files
from readout_ui.runs.store import MAX_REPORT, REPORT_FILE, RunAbout, RunStore, brought
from readout_ui.texts.exchange import (
    ImportPlan,
    PlannedConcept,
    apply_import,
    plan_import,
)
from readout_ui.texts.library import Library
from readout_ui.texts.names import AGAINST, SUFFIX, check_name, fold_name, is_neutral_name
from readout_ui.texts.reading import encode_descriptions, parse_descriptions
from readout_ui.texts.set_files import ImportedSet

PACK_FILE = "pack.json"
KEPT = ".packs"
"""Folder among the runs in which installed packs are kept."""
_MAX_ABOUT = 1_000_000
_LINE = r"^[^\x00-\x1f\x7f]*$"
_Short = Annotated[str, StringConstraints(max_length=300, pattern=_LINE)]
CONFLICTS = ("ask", "mine", "both", "pack")
"""What becomes of a concept that is here with other texts, see `plan_texts`."""


class PackAbout(RunAbout):
    """What a pack says of itself."""

    model_config = ConfigDict(frozen=True)

    pack: Literal[1]
    name: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=_LINE)]
    by: _Short = ""
    """Who made it, if they said so."""
    model: _Short
    fingerprint: _Short
    """Of the model's weights."""
    concepts: Annotated[int, Constrained(gt=0, lt=2000)]
    texts: Sha256
    """Of all texts, as the manifest of a kept run has it."""
    files: dict[str, Sha256]


@dataclass(frozen=True)
class Pack:
    """A pack that was read and checked; nothing of it was written."""

    about: PackAbout
    run: Run
    """In memory, with its texts."""
    report: RunReport | None


def pack_files(
    store: RunStore, run: Run, name: str = "", by: str = ""
) -> tuple[dict[str, bytes], PackAbout]:
    """The files of a pack of a kept run, for `write_zip`, and what it says of itself.

    Args:
        store: where the run is kept.
        run: trained on descriptions.
        name: of the pack; empty for the run's.
        by: who made it.

    Raises:
        UserError: it was trained on something else, or a name is too long.
    """
    if run.source:
        raise UserError(
            f"a pack holds descriptions, this run was trained on {run.source}",
            where=run.where,
            fix="export it instead",
        )
    files = run.files("readout")
    files[CARD_FILE] += _INSTALL.encode()
    files |= {f"{n}{SUFFIX}": encode_descriptions(t, n) for n, t in run.texts.items()}
    report = store.report(run.id)
    files |= {REPORT_FILE: replace(report, run_id="", before="").to_json()} if report else {}
    values = {
        **store.about(run.id).model_dump(mode="json"),
        "pack": 1,
        "name": name.strip() or store.title(run),
        "by": by.strip(),
        "model": run.model_name,
        "fingerprint": run.model_fingerprint,
        "concepts": len(run.concepts),
        "texts": texts_mark(run.texts),
        "files": {file: sha256_of(raw) for file, raw in files.items()},
    }
    about = _checked(values, "the pack")
    return {**files, PACK_FILE: json_bytes(values)}, about


_INSTALL = """
## Install
`readout-ui install FILE.zip`, or Install a pack in the room Ship of Readout Studio: the texts join
your library, the vectors become a run. On another model, train the texts there.
"""


def texts_mark(texts: Mapping[str, tuple[str, ...]]) -> str:
    """What tells whether a run was trained on a pack's texts, see `PackAbout.texts`."""
    return sha256_of(json_bytes({name: list(some) for name, some in texts.items()}))


def is_trained_on(run: Run, about: PackAbout) -> bool:
    """Whether a kept run's texts are those of a pack."""
    return run.manifest.files.get(DESCRIPTIONS_FILE) == about.texts


def read_about(path: Path) -> PackAbout:
    """What a pack says of itself; UserError where it is none."""
    names = names_in(path)
    if PACK_FILE not in names:
        raise UserError("this is no pack: there is no pack.json in it", where=printable(path.name))
    raw = read_files(path, (PACK_FILE,))[PACK_FILE]
    about = parse_about(raw, printable(path.name))
    if listed := set(names) ^ {*about.files, PACK_FILE}:
        raise UserError(
            f"its list of files does not fit what is in it ({printable(min(listed))})",
            where=printable(path.name),
            fix="ask for the pack again",
        )
    return about


def parse_about(raw: bytes, where: str) -> PackAbout:
    """A `pack.json`; UserError with the first fault."""
    if len(raw) > _MAX_ABOUT:
        raise UserError("pack.json is too large", where=where)
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        raise UserError("pack.json is no JSON", where=where) from None
    return _checked(values, where)


def _checked(values: object, where: str) -> PackAbout:
    try:
        return PackAbout.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = printable(".".join(map(str, first["loc"]))) or "pack.json"
        raise UserError(f"{place}: {printable(first['msg'])}", where=where) from None


def read_pack(path: Path, name: str = "") -> Pack:
    """A pack, with every check; nothing is written.

    Args:
        path: the zip.
        name: what messages call it; by default the file's name.

    Raises:
        UserError: it is no pack, damaged or hostile, or its parts do not fit each other.
    """
    about, where = read_about(path), name or printable(path.name)
    files = read_files(path, tuple(about.files))
    for file, raw in files.items():
        if sha256_of(raw) != about.files[file]:
            raise UserError(
                f"{printable(file)} is not what was packed",
                where=where,
                fix="ask for the pack again",
            )
    texts = _texts(files, where)
    export = Run.open(path)
    run = brought(export, where, texts)
    _require_fitting(about, run.manifest, texts, where)
    return Pack(about, run, _report(files, run, where))


def _report(files: Mapping[str, bytes], run: Run, where: str) -> RunReport | None:
    """The run's report, whose links lead nowhere but into the page."""
    raw = files.get(REPORT_FILE)
    if raw is None:
        return None
    if len(raw) > MAX_REPORT:
        raise too_large(REPORT_FILE, len(raw), MAX_REPORT)
    report = RunReport.from_json(raw, where)
    links = all(finding.address.startswith("#/") for finding in report.findings)
    if not links or {concept.name for concept in report.concepts} != {*run.concepts}:
        raise UserError("report.json is of something else", where=where)
    return report


def _texts(files: Mapping[str, bytes], where: str) -> dict[str, tuple[str, ...]]:
    """The descriptions by concept; names are safe file names, once each."""
    texts: dict[str, tuple[str, ...]] = {}
    for file in sorted(files.keys() - {*READOUT_FILES, REPORT_FILE}):
        name = file.removesuffix(SUFFIX)
        if name == file or check_name(name, texts, neutral=is_neutral_name(name)) != name:
            raise UserError(f"{printable(file)} has no place in a pack", where=where)
        texts[name] = parse_descriptions(files[file], printable(file))
    return texts


def _require_fitting(
    about: PackAbout, manifest: Manifest, texts: Mapping[str, tuple[str, ...]], where: str
) -> None:
    """Raise a UserError unless texts, vectors and what the pack says belong to each other."""
    model = (manifest.model.id, manifest.model.fingerprint, len(manifest.concepts))
    rules = (
        (texts.keys() != manifest.descriptions.keys(), "texts and vectors are of other concepts"),
        (texts_mark(texts) != about.texts, "the texts are not those it was made of"),
        (model != (about.model, about.fingerprint, about.concepts), "it is made of another run"),
    )
    if fault := next((words for wrong, words in rules if wrong), ""):
        raise UserError(fault, where=where, fix="ask for the pack again")


def plan_texts(pack: Pack, library: Library, on_conflict: str = "ask") -> ImportPlan:
    """What installing a pack's texts would do to a library.

    Args:
        pack: what is installed.
        library: the texts that are there now.
        on_conflict: of a concept that is there with other texts: "mine" stays alone, "both" adds
            the pack's under a name of its own, "pack" replaces mine, which goes to the history.

    Raises:
        UserError: "ask", and there is such a concept; or a text on disk cannot be read.
    """
    plan = plan_import(library, ImportedSet(pack.run.texts, (), ()))
    if plan.refused:
        raise UserError(plan.refused[0].reason)
    other = plan.of("changed")
    if other and on_conflict == "ask":
        raise Conflict(pack.about.name, tuple(concept.name for concept in other))
    if not other or on_conflict == "pack":
        return plan
    mine = {concept.name.removeprefix(AGAINST) for concept in other}
    added: tuple[PlannedConcept, ...] = ()
    if on_conflict == "both":
        added = plan_import(library, _renamed(pack, library, mine)).concepts
    # Contrast texts belong to the pack's concept, not to mine of the same name.
    fitting = (c for c in plan.of("added") if c.name.removeprefix(AGAINST) not in mine)
    return ImportPlan((*fitting, *plan.of("same"), *added), (), plan.notes)


def _renamed(pack: Pack, library: Library, names: set[str]) -> ImportedSet:
    """The pack's texts of these concepts, and their contrasts, under free names."""
    texts = {fold_name(name): some for name, some in pack.run.texts.items()}
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(names):
        new = _beside(name, pack.about.name, [*library.texts(), *pack.run.texts])
        for mark in ("", AGAINST):
            if some := texts.get(fold_name(f"{mark}{name}")):
                found[f"{mark}{new}"] = some
    return ImportedSet(found, (), ())


class Conflict(UserError):
    """Concepts of a pack are here with other texts, and it was not said what becomes of them."""

    def __init__(self, pack: str, concepts: tuple[str, ...]) -> None:
        self.concepts = concepts
        named = ", ".join(map(printable, concepts[:5])) + ("…" if len(concepts) > 5 else "")
        super().__init__(
            f"{len(concepts)} of its concepts are here with other texts ({named})",
            where=printable(pack),
            fix="say what becomes of them: mine (keep yours), both (add the pack's under names of "
            "their own) or pack (replace yours, which go to the history)",
        )


def _beside(name: str, pack: str, taken: list[str]) -> str:
    """A free name for a pack's concept beside one of the same name."""
    used, number = {fold_name(each) for each in taken}, 2
    stem = check_name(f"{name}_{slug(pack)[:40]}", neutral=is_neutral_name(name))
    found = stem
    while fold_name(found) in used:
        found, number = f"{stem}_{number}", number + 1
    return found


def slug(name: str) -> str:
    """A run's or pack's name as part of a file's name: `anxious-second-try`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "pack"


def install_pack(
    pack: Pack, store: RunStore, descriptions: Path, on_conflict: str = "ask"
) -> tuple[ImportPlan, Run]:
    """Add a pack's texts to a library and its vectors to the kept runs.

    Args:
        pack: as it was read.
        store: the kept runs; the run in use stays so.
        descriptions: folder of the library; made where it is missing.
        on_conflict: as `plan_texts` has it.

    Returns:
        What was done to the texts, and the kept run.

    Raises:
        UserError: as `plan_texts`, or the disk refuses.
    """
    if on_conflict not in CONFLICTS:
        raise UserError(f"unknown way out of conflicts {on_conflict!r}", options=CONFLICTS)
    descriptions.mkdir(parents=True, exist_ok=True)
    plan = plan_texts(pack, Library(descriptions), on_conflict)
    apply_import(descriptions, plan)
    return plan, keep_run(store, pack)


def keep_run(store: RunStore, pack: Pack) -> Run:
    """The pack's run among the kept ones; the one that is there already, if any."""
    kept = next((run for run in store.list() if _is_same(run, pack.run)), None)
    if kept is not None:
        return kept
    run = store.save(pack.run)
    by = f" by {pack.about.by}" if pack.about.by else ""
    said = pack.about.model_dump(include={"name", "note", "tags"})
    store.describe(run.id, **said, origin=f"pack {pack.about.name}{by}"[:80])
    if pack.report is not None:
        store.keep_report(replace(pack.report, run_id=run.id))
    return run


def _is_same(kept: Run, packed: Run) -> bool:
    one, two = (run.manifest for run in (kept, packed))
    return (kept.texts, one.model, one.settings, one.layers) == (
        *(packed.texts, two.model, two.settings, two.layers),
    )


def kept_packs(runs: Path) -> dict[str, PackAbout]:
    """The packs that were installed here, by file name; a damaged one is passed over."""
    found = {}
    for path in sorted((runs / KEPT).glob("*.zip")):
        try:
            found[path.name] = read_about(path)
        except UserError:
            continue
    return found


def keep_pack(runs: Path, raw: bytes, about: PackAbout) -> Path:
    """Keep a pack's file among those installed; the same pack is kept once.

    Raises:
        UserError: the disk refuses.
    """
    folder = runs / KEPT
    with locked(runs):
        stem, number = slug(about.name), 1
        path = folder / f"{stem}.zip"
        while path.exists() and path.read_bytes() != raw:
            number += 1
            path = folder / f"{stem}-{number}.zip"
        write_file(path, raw)
    return path


def pack_path(runs: Path, file: str) -> Path:
    """Where an installed pack lies; the name may come from a browser.

    Raises:
        UserError: there is no such pack.
    """
    path = runs / KEPT / file
    if Path(file).name != file or file.startswith(".") or not path.is_file():
        raise UserError(f"there is no pack {file!r}")
    return path
