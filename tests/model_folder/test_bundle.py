import hashlib
import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.data.images.archives import read_chunks
from skrd4ad.errors import CheckpointError
from skrd4ad.files import LOCK
from skrd4ad.inference.reference import read_reference
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder import bundle
from skrd4ad.model_folder.bundle import MANIFEST, SEAL, bundle_name, import_bundle, read_bundle, write_bundle
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.model_folder.folder import read_history, read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import change_metadata, read_metadata
from skrd4ad.model_folder.network import load_model

PARTS = (
    "about.json",
    "calibration.json",
    "config.json",
    "ignore-2.png",
    "model.safetensors",
    "model_card.md",
    "reference.json",
)
Entries = dict[str, bytes]


@pytest.fixture
def model(trained: ModelInfo) -> ModelInfo:
    """A model with an ignore mask, a second calibration, a name, and an export that is no part of it."""
    mask = np.zeros((20, 20), bool)
    mask[:5] = True
    save_calibration(trained.folder, calibrate([0.5, 0.6], data="d", who="w"), ignore_mask=mask)
    change_metadata(trained.folder, name="Station 4", note="after the new lamp", archived=True)
    (trained.folder / "exports" / "onnx").mkdir(parents=True)
    (trained.folder / "exports" / "onnx" / "manifest.json").write_text("{}", encoding="utf-8")
    return read_info(trained.folder)


@pytest.fixture
def file(model: ModelInfo, tmp_path: Path) -> Path:
    path = tmp_path / "model.skrd4ad.zip"
    write_bundle(model.folder, path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "imported"


def entries_of(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def packed(path: Path, entries: Entries) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def resealed(entries: Entries, change: Callable[[dict[str, Any]], None]) -> Entries:
    """The same with another manifest, made as carefully as the real one."""
    values = json.loads(entries[MANIFEST])
    change(values)
    text = json.dumps(values).encode()
    return {**entries, MANIFEST: text, SEAL: hashlib.sha256(text).hexdigest().encode()}


def require_refused(path: Path, out: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        import_bundle(path, out=out)
    assert not list(out.rglob("*.safetensors"))
    assert not [path for path in out.rglob(".*") if path.is_dir()]


def test_a_model_comes_back_as_it_was(model: ModelInfo, file: Path, out: Path) -> None:
    found = import_bundle(file, out=out)
    info = found.info
    assert not found.existed
    assert info.folder == out / "parts" / "machined_disc" / "run"
    assert replace(info, folder=model.folder) == model
    assert read_history(info.folder) == read_history(model.folder)
    assert read_reference(info.folder) == read_reference(model.folder)
    np.testing.assert_array_equal(scoring_mask_of(info).ignored, scoring_mask_of(model).ignored)
    assert sorted(path.name for path in info.folder.iterdir()) == list(PARTS)
    about = read_metadata(info.folder)
    assert (about.name, about.note, about.archived) == ("Station 4", "after the new lamp", False)
    assert about.imported.startswith("model.skrd4ad.zip, 2")
    load_model(info.folder)


def test_the_manifest_names_every_part_and_the_teacher(model: ModelInfo, file: Path) -> None:
    manifest = read_bundle(file)
    assert tuple(sorted(manifest.parts)) == PARTS
    weights = (model.folder / "model.safetensors").read_bytes()
    assert manifest.parts["model.safetensors"].sha256 == hashlib.sha256(weights).hexdigest() == manifest.model_digest
    assert manifest.parts["model.safetensors"].bytes == len(weights)
    assert (manifest.net, manifest.teacher_digest) == ("efficientnet_lite0", model.teacher_digest)
    assert bundle_name(model) == "parts-machined_disc-run.skrd4ad.zip"
    assert read_bundle(file.read_bytes()) == manifest


@pytest.mark.parametrize("part", [*PARTS, MANIFEST, SEAL])
def test_a_changed_byte_is_refused_by_the_name_of_its_part(file: Path, out: Path, part: str) -> None:
    entries = entries_of(file)
    content = bytearray(entries[part])
    content[len(content) // 2] ^= 1
    # packed anew, so that the ZIP file's own checksums are right
    packed(file, {**entries, part: bytes(content)})
    named = MANIFEST if part == SEAL else part
    require_refused(file, out, rf"the part {named} was changed")


def test_whatever_byte_of_the_file_is_flipped_nothing_wrong_is_imported(
    file: Path, out: Path, model: ModelInfo
) -> None:
    content = file.read_bytes()
    # all of the small parts' headers and the directory at the end, and some of the long rest
    places = {*range(0, 400, 7), *range(len(content) - 900, len(content), 5), *range(400, len(content) - 900, 400_001)}
    parts = (path for path in model.folder.iterdir() if path.is_file() and path.name != LOCK)
    expected = {path.name: path.read_bytes() for path in parts}
    refused = 0
    for number, index in enumerate(sorted(places)):
        changed = content[:index] + bytes([content[index] ^ 0x10]) + content[index + 1 :]
        here = out / str(number)
        try:
            folder = import_bundle(changed, out=here, name="x.zip").info.folder
        except CheckpointError:
            refused += 1
            assert not list(here.rglob("*.safetensors"))
            continue
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {**found, "about.json": b""} == {**expected, "about.json": b""}
        shutil.rmtree(here)
    assert refused > len(places) / 2


@pytest.mark.parametrize("part", ["calibration.json", "model.safetensors", MANIFEST, SEAL])
def test_a_missing_part_is_named(file: Path, out: Path, part: str) -> None:
    entries = entries_of(file)
    del entries[part]
    require_refused(packed(file, entries), out, rf"lacks the part {part}")


def test_a_part_too_many_is_named(file: Path, out: Path) -> None:
    packed(file, {**entries_of(file), "extra.json": b"{}"})
    require_refused(file, out, "holds 'extra.json', which its manifest does not name")


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a/b.json", "..\\evil.json", ".hidden.json", "a\n.json"]
)
def test_a_path_that_leads_elsewhere_is_named(file: Path, out: Path, name: str) -> None:
    entries = entries_of(file)
    require_refused(packed(file, {**entries, name: b"{}"}), out, "a path that leads elsewhere")
    sealed = resealed(entries, lambda values: values["parts"].update({name: values["parts"]["config.json"]}))
    require_refused(packed(file, sealed), out, "which is no file of a model")


def test_a_part_twice_is_refused(file: Path, out: Path) -> None:
    entries = entries_of(file)
    require_refused(
        packed(file, {**entries, "CONFIG.json": b"{}"}), out, "holds 'CONFIG.json' twice|holds 'config.json' twice"
    )


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_is_refused(file: Path, out: Path, mode: int) -> None:
    entries = entries_of(file)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (mode if name == "config.json" else stat.S_IFREG) << 16
            archive.writestr(info, content)
    require_refused(file, out, r"the part config\.json is a link or a device")


def test_more_bytes_than_allowed_are_refused_before_they_are_unpacked(
    file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = entries_of(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        bomb = bytes(50_000_000)
        for name, content in resealed(
            entries, lambda values: values["parts"].update({"b.json": {"sha256": "0" * 64, "bytes": len(bomb)}})
        ).items():
            archive.writestr(name, content)
        archive.writestr("b.json", bomb)
    assert file.stat().st_size < 6_000_000
    monkeypatch.setattr(bundle, "MOST_BYTES", 40_000_000)

    def read_manifest_only(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
        assert info.filename in (MANIFEST, SEAL), "a part was unpacked"
        return read_chunks(archive, info)

    monkeypatch.setattr(bundle, "read_chunks", read_manifest_only)
    require_refused(file, out, r"GB unpacked, the most of it b\.json")


def test_a_part_larger_than_its_manifest_says_is_named(file: Path, out: Path) -> None:
    entries = entries_of(file)
    packed(file, {**entries, "config.json": entries["config.json"] + b" " * 1000})
    require_refused(file, out, r"the part config\.json has \d+ bytes, not the \d+ of the manifest")


def test_a_manifest_that_is_a_bomb_itself_is_refused(file: Path, out: Path) -> None:
    packed(file, {**entries_of(file), MANIFEST: b" " * 2_000_000})
    require_refused(file, out, r"the part manifest\.json has 2000000 bytes")


def test_too_many_parts_are_refused(file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_PARTS", 5)
    require_refused(file, out, "holds 9 parts; allowed: up to 5")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda values: values.update(format=2), "has the format 2; this version reads 1"),
        (lambda values: values.update(kind="other"), "is of 'other'; allowed: 'skrd4ad model'"),
        (lambda values: values.update(dataset=3), "dataset is 3; allowed: a text"),
        (lambda values: values.update(surprise=1), "damaged"),
        (lambda values: values.update(parts=[]), "damaged"),
        (lambda values: values["parts"].pop("config.json"), r"lacks the part config\.json"),
        (lambda values: values.update(class_name="other"), r"the part config\.json is of another model"),
        (lambda values: values.update(teacher_digest="0"), r"the part config\.json is of another model"),
    ],
)
def test_a_forged_manifest_is_refused(
    file: Path, out: Path, change: Callable[[dict[str, Any]], None], match: str
) -> None:
    require_refused(packed(file, resealed(entries_of(file), change)), out, match)


def test_names_of_data_sets_and_classes_cannot_lead_elsewhere(model: ModelInfo, file: Path, out: Path) -> None:
    entries = entries_of(file)
    config = entries["config.json"].replace(b'"dataset": "parts"', b'"dataset": "../../evil"')

    def change(values: dict[str, Any]) -> None:
        values.update(dataset="../../evil", run="../run")
        values["parts"]["config.json"] = {"sha256": hashlib.sha256(config).hexdigest(), "bytes": len(config)}

    folder = import_bundle(packed(file, resealed({**entries, "config.json": config}, change)), out=out).info.folder
    assert folder.resolve().is_relative_to(out.resolve())


def test_the_same_content_is_not_imported_twice(model: ModelInfo, file: Path, out: Path) -> None:
    first = import_bundle(file, out=out)
    change_metadata(first.info.folder, name="Another name")
    second = import_bundle(file, out=out)
    assert (second.existed, second.info.folder) == (True, first.info.folder)
    assert read_metadata(first.info.folder).name == "Another name"
    # a damaged bundle is not said to be there already
    entries = entries_of(file)
    packed(file, {**entries, "model_card.md": entries["model_card.md"][:-1] + b"x"})
    with pytest.raises(CheckpointError, match=r"the part model_card\.md was changed"):
        import_bundle(file, out=out)


def test_another_content_of_the_same_run_stands_beside_it(model: ModelInfo, file: Path, out: Path) -> None:
    first = import_bundle(file, out=out).info
    save_calibration(model.folder, calibrate([0.7], data="d", who="w"))
    write_bundle(model.folder, file)
    second = import_bundle(file, out=out).info
    assert (first.folder.name, second.folder.name) == ("run", "run-2")
    assert (read_info(first.folder).calibration_versions, second.calibration_versions) == (2, 3)


def test_a_damaged_model_is_not_packed(model: ModelInfo, tmp_path: Path) -> None:
    with (model.folder / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\xff")
    target = tmp_path / "x.zip"
    with pytest.raises(CheckpointError, match="changed or damaged"):
        write_bundle(model.folder, target)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(out: Path, content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"upload\.zip.* is no bundle"):
        import_bundle(content, out=out, name="upload.zip")
    with pytest.raises(CheckpointError, match="cannot be opened"):
        import_bundle(out / "nothing.zip", out=out)
