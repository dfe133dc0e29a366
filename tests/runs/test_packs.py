"""Packs: what is packed comes back whole, and what is damaged or hostile writes nothing."""

import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from readout_ui.cli import program as cli
from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.packs import (
    CONFLICTS,
    PACK_FILE,
    Conflict,
    install_pack,
    is_trained_on,
    keep_pack,
    kept_packs,
    pack_files,
    pack_path,
    plan_texts,
    read_about,
    read_pack,
    slug,
)
from readout_ui.runs.report import Finding
from readout_ui.runs.run import Run
from readout_ui.runs.run_files import write_zip
from readout_ui.runs.store import RunStore
from readout_ui.texts.editing import save_concept
from readout_ui.texts.exchange import import_set
from readout_ui.texts.library import Concept, Library
from tests.support.fuzzing import mutated
from tests.support.reports import make_report
from tests.support.trained_example import make_run


def packable_run() -> Run:
    """A run whose manifest names its texts by their true hashes."""
    run = make_run()
    marks = {name: Concept(name, texts).fingerprint for name, texts in run.texts.items()}
    return replace(run, manifest=run.manifest.model_copy(update={"descriptions": marks}))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def packed(store: RunStore, tmp_path: Path) -> Path:
    """A pack of a run with a name and a note."""
    run = store.save(packable_run())
    store.describe(run.id, name="Care talk", note="for the diary", tags=("diary",))
    store.keep_report(make_report(run.id))
    files, _ = pack_files(store, run, by="Ana")
    path = tmp_path / "care-talk.zip"
    write_zip(path, files)
    return path


def rewritten(pack: Path, **changes: bytes | None) -> Path:
    """The pack with other files, or without some, and with hashes that fit all of them."""
    with zipfile.ZipFile(pack) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, raw in changes.items():
        if raw is None:
            files.pop(name)
        else:
            files[name] = raw
    if PACK_FILE not in changes:
        about = json.loads(files[PACK_FILE])
        about["files"] = {n: sha256_of(raw) for n, raw in files.items() if n != PACK_FILE}
        files[PACK_FILE] = json.dumps(about).encode()
    target = pack.with_name("changed.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return target


def test_a_pack_comes_back_as_the_run_with_its_texts(
    store: RunStore, packed: Path, tmp_path: Path
) -> None:
    run = store.list()[0]
    found = read_pack(packed)
    assert (found.about.name, found.about.by, found.about.note) == (
        *("Care talk", "Ana", "for the diary"),
    )
    assert found.run.texts == run.texts
    kept, brought = run.vectors, found.run.vectors
    assert torch.allclose(kept.directions, brought.directions, atol=1e-3)
    assert is_trained_on(run, found.about)
    other = RunStore(tmp_path / "other")
    plan, installed = install_pack(found, other, tmp_path / "texts")
    assert plan.summary() == "4 added, 0 changed, 0 the same, 0 refused"
    assert Library(tmp_path / "texts").texts() == run.texts
    assert (other.about(installed.id).name, other.about(installed.id).tags) == (
        *("Care talk", ("diary",)),
    )
    assert other.origin(installed) == "brought from pack Care talk by Ana"
    report = other.report(installed.id)
    assert report is not None
    assert report.headline == "1 of 3 concepts can be read; 1 pair is confused"
    assert other.current() is None
    again, same = install_pack(found, other, tmp_path / "texts")
    assert (len(again.of("same")), same.id, len(other.list())) == (4, installed.id, 1)


def test_a_pack_is_an_export_and_a_zip_of_descriptions_too(packed: Path) -> None:
    assert Run.open(packed).concepts == ("afraid", "calm", "sad")
    assert import_set(packed).concepts.keys() == {"afraid", "calm", "sad", "_neutral"}


def test_equal_runs_make_equal_packs(store: RunStore) -> None:
    one, two = store.save(packable_run()), store.save(packable_run())
    assert pack_files(store, one, "a") == pack_files(store, two, "a")


def test_other_texts_of_the_same_name_are_never_overwritten_unasked(
    store: RunStore, packed: Path, tmp_path: Path
) -> None:
    texts, found = tmp_path / "texts", read_pack(packed)
    texts.mkdir()
    mine = ("Mine is another calm. I keep it.",)
    (texts / "calm.txt").write_text(mine[0] + "\n")
    before = sorted(texts.iterdir())
    with pytest.raises(Conflict, match=r"1 of its concepts are here with other texts \(calm\)"):
        install_pack(found, store, texts)
    with pytest.raises(UserError, match="unknown way"):
        install_pack(found, store, texts, "force")
    assert sorted(texts.iterdir()) == before
    install_pack(found, store, texts, "mine")
    assert Library(texts).concept("calm").descriptions == mine
    assert "sad" in Library(texts).names()
    install_pack(found, store, texts, "both")
    assert Library(texts).concept("calm").descriptions == mine
    assert Library(texts).concept("calm_care-talk").descriptions == found.run.texts["calm"]
    install_pack(found, store, texts, "pack")
    assert Library(texts).concept("calm").descriptions == found.run.texts["calm"]
    assert CONFLICTS == ("ask", "mine", "both", "pack")


@pytest.mark.parametrize(
    ("on_conflict", "added"),
    [("mine", set()), ("both", {"calm_care-talk", "_against calm_care-talk"})],
)
def test_contrast_texts_stay_with_the_packs_own_concept(
    packed: Path, tmp_path: Path, on_conflict: str, added: set[str]
) -> None:
    pack, mine = read_pack(packed), tmp_path / "mine"
    mine.mkdir()
    save_concept(mine, "calm", ["I wrote this myself."], None)
    with_contrast = replace(pack.run, texts={**pack.run.texts, "_against calm": ("I pace.",)})
    plan = plan_texts(replace(pack, run=with_contrast), Library(mine), on_conflict)
    planned = {concept.name for concept in plan.of("added")}
    assert planned == {*pack.run.texts} - {"calm"} | added


def test_what_does_not_fit_is_refused_in_one_sentence(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        about = json.loads(archive.read(PACK_FILE))
    led = make_report("x", findings=(Finding("Press here.", "javascript:alert(1)"),))
    for changes, said in (
        ({"calm.txt": b"Other texts. Not those.\n"}, "the texts are not those it was made of"),
        ({"calm.txt": None}, "of other concepts"),
        ({"more.txt": b"One more. It is new.\n"}, "of other concepts"),
        ({"run.exe": b"MZ"}, "run.exe has no place in a pack"),
        ({"CALM.txt": b"Calm again. And again.\n"}, "there is already a concept"),
        ({"con.txt": b"A device. Of Windows.\n"}, "Windows keeps this name"),
        ({"calm.txt": b"\xff\xfe\x00"}, "UTF-8"),
        ({"readout.json": b"{}"}, "schema_version"),
        ({PACK_FILE: json.dumps({**about, "model": "other"}).encode()}, "made of another run"),
        ({PACK_FILE: json.dumps({**about, "pack": 2}).encode()}, "pack: "),
        ({PACK_FILE: json.dumps({**about, "name": "a\x1b[2J"}).encode()}, "name: "),
        ({PACK_FILE: json.dumps({**about, "files": {}}).encode()}, "its list of files"),
        ({PACK_FILE: b"[" * 5000}, "no JSON"),
        ({"report.json": b"{}"}, "no report of a run"),
        ({"report.json": led.to_json()}, "report.json is of something else"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            read_pack(rewritten(packed, **changes))  # type: ignore[arg-type]
        assert "\x1b" not in str(caught.value)


def test_a_flipped_byte_and_a_way_out_of_the_folder_are_found(packed: Path) -> None:
    raw = bytearray(packed.read_bytes())
    at = raw.index(b"I feel calm")
    raw[at] ^= 1
    damaged = packed.with_name("damaged.zip")
    damaged.write_bytes(bytes(raw))
    with pytest.raises(UserError):
        read_pack(damaged)
    for name in ("../calm.txt", "/calm.txt", "a/calm.txt", "a\\calm.txt"):
        with pytest.raises(UserError, match="leads into another folder"):
            read_pack(rewritten(packed, **{name: b"Out of it. Gone.\n"}))
    bomb = packed.with_name("bomb.zip")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("calm.txt", b"a" * 50_000_000)
    with pytest.raises(UserError, match="unpacks to more"):
        read_pack(bomb)
    export = packed.with_name("export.zip")
    write_zip(export, packable_run().files("readout"))
    with pytest.raises(UserError, match="this is no pack"):
        read_pack(export)


def test_a_run_of_other_texts_than_descriptions_is_no_pack(store: RunStore) -> None:
    run = packable_run()
    run = replace(run, manifest=run.manifest.model_copy(update={"source": "stories"}))
    with pytest.raises(UserError, match="trained on stories"):
        pack_files(store, store.save(run))


def test_packs_are_kept_beside_the_runs_and_are_no_runs(store: RunStore, packed: Path) -> None:
    about = read_about(packed)
    path = keep_pack(store.folder, packed.read_bytes(), about)
    assert keep_pack(store.folder, packed.read_bytes(), about) == path
    assert [(file, one.name) for file, one in kept_packs(store.folder).items()] == [
        ("care-talk.zip", "Care talk")
    ]
    assert len(store.list()) == 1
    assert store.broken() == ()
    (path.parent / "broken.zip").write_bytes(b"PK")
    assert list(kept_packs(store.folder)) == ["care-talk.zip"]
    assert pack_path(store.folder, "care-talk.zip") == path
    for odd in ("../current", "", ".packs", "none.zip"):
        with pytest.raises(UserError, match="there is no pack"):
            pack_path(store.folder, odd)
    assert slug("  Ängste & so / 2 ") == "ngste-so-2"
    assert slug("/") == "pack"


def test_a_pack_goes_from_one_machine_to_another_by_the_command_line(
    store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, path = store.save(packable_run()), tmp_path / "out.zip"
    there, texts = tmp_path / "there", tmp_path / "texts"
    pack = ["pack", "--runs", str(store.folder), "--run", run.id, "--name", "feelings"]
    assert cli.run([*pack, "-o", str(path)]) == 0
    into = ["--runs", str(there), "--descriptions", str(texts)]
    assert cli.run(["install", str(path), *into]) == 0
    said = capsys.readouterr().out
    assert "Installed the pack feelings: 4 added" in said
    installed = RunStore(there).list()[0]
    assert cli.run(["runs", installed.id, "--use", "--runs", str(there)]) == 0
    (texts / "sad.txt").write_text("Another sad. It is mine.\n")
    assert cli.run(["install", str(path), *into]) == 2
    assert "here with other texts (sad)" in capsys.readouterr().err
    assert cli.run(["install", str(path), *into, "--on-conflict", "both"]) == 0
    assert "sad_feelings" in Library(texts).names()


def test_any_member_may_be_hostile(packed: Path) -> None:
    """Each file is changed and its hash made to fit: a pack or one printable sentence."""
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for seed in range(120):
        chance = random.Random(seed)
        name = chance.choice(sorted(files))
        said = refusal(rewritten(packed, **{name: mutated([files[name]], chance)}))
        assert said.isprintable(), (seed, name, said)


def refusal(pack: Path) -> str:
    """What is said against a pack; empty where it is read."""
    try:
        read_pack(pack)
    except UserError as error:
        return str(error)
    return ""
