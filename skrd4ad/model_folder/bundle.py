"""A model as one file, for another machine: writing it, and importing it once every part has been checked.

The parts are the files directly in the model folder and those of its converted graph. Exports are not among them, and
neither is the file of the teacher's weights: the model names the digest of those it needs, and loading checks it.
Beside the parts stand a manifest with their SHA-256 and sizes, and its seal. Nothing is believed before it is checked:
names, sizes, the manifest's own digest, then each part while it is unpacked. What is wrong is named.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

import skrd4ad
from skrd4ad import documents
from skrd4ad.data.images.archives import hazard_of, open_zip, read_chunks
from skrd4ad.data.images.decode import name_of
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.files import FileEntry, locked, new_file, new_folder
from skrd4ad.model_folder.calibration import this_moment
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.model_folder.info import CONFIG, GRAPH, WEIGHTS, ModelInfo, read_info
from skrd4ad.model_folder.metadata import ABOUT, read_metadata, write_about
from skrd4ad.model_folder.unfinished import state_file
from skrd4ad.models.installed import is_installed
from skrd4ad.task import QUIET, Task

SUFFIX = ".skrd4ad.zip"
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
"""The list of parts, and its own digest."""
FORMAT = 1
KIND = "skrd4ad model"
MOST_PARTS = 200
MOST_BYTES = 4 * 2**30
"""Of all parts together, unpacked."""
MOST_MANIFEST_BYTES = 2**20
_PLAIN = re.compile(rf"({GRAPH}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{{0,99}}")
"""Names of parts; none leads out of the model folder."""
PART_SUFFIXES = (".safetensors", ".json", ".md", ".png")
GRAPH_SUFFIXES = (".json", ".xml", ".bin")


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """What a bundle holds."""

    dataset: str
    class_name: str
    run: str
    model_digest: str
    net: str
    teacher_digest: str
    """Of the teacher's weights that the model needs; not in the bundle."""
    made_at: str
    made_with: str
    parts: dict[str, FileEntry]

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"kind": KIND, "format": FORMAT, **documents.to_plain(self)}


@dataclass(frozen=True)
class ImportedBundle:
    """A model that came in a bundle."""

    info: ModelInfo
    existed: bool
    """A model of the same content was there already, so nothing was written; ``info`` is of that one."""


def bundle_name(info: ModelInfo) -> str:
    """Usual name of a model's bundle."""
    return f"{folder_name(info.dataset)}-{folder_name(info.class_name)}-{folder_name(info.folder.name)}{SUFFIX}"


def write_bundle(folder: Path, target: Path) -> BundleManifest:
    """Pack a model folder into one file, which replaces a file of that name."""
    with locked(folder), new_file(target) as temporary:
        info = read_info(folder)
        files = {_name(path, folder): path for path in _parts_of(folder)}
        manifest = BundleManifest(
            dataset=info.dataset,
            class_name=info.class_name,
            run=info.folder.name,
            model_digest=info.digest,
            net=info.model.net,
            teacher_digest=info.teacher_digest,
            made_at=this_moment(),
            made_with=skrd4ad.__version__,
            parts={name: FileEntry.of(path) for name, path in files.items()},
        )
        if manifest.parts[WEIGHTS].sha256 != info.digest:
            raise CheckpointError(f"{folder / WEIGHTS} was changed or damaged after it was written; restore it.")
        text = json.dumps(manifest.to_plain(), indent=2, ensure_ascii=False, allow_nan=False).encode()
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            archive.writestr(MANIFEST, text)
            archive.writestr(SEAL, seal_of(text))
            for name, path in files.items():
                # trained weights do not get smaller
                stored = path.suffix in (".safetensors", ".bin")
                archive.write(path, name, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return manifest


def read_bundle(source: Path | bytes, *, name: str | None = None) -> BundleManifest:
    """What a bundle says it holds; names, sizes and the manifest are checked, the contents of the parts are not."""
    label = name_of(source, name, kind="the bundle")
    with open_bundle(source, label) as archive:
        return checked_manifest(archive, label)


def import_bundle(
    source: Path | bytes,
    *,
    out: Path,
    name: str | None = None,
    validate: Callable[[Path], object] = lambda _: None,
    task: Task = QUIET,
) -> ImportedBundle:
    """Unpack a bundle into a new model folder ``<out>/<dataset>/<class>/<run>``, once every part has been checked. A
    run of that name with another content is left alone; the new one gets a number behind its name.

    ``validate`` is called with the unpacked folder, and raises where a part is damaged that this layer does not know.
    """
    label = name_of(source, name, kind="the bundle")
    with open_bundle(source, label) as archive:
        manifest = checked_manifest(archive, label)
        parent = out / folder_name(manifest.dataset) / folder_name(manifest.class_name)
        same = _same_content(parent, manifest)
        target = same or _free_folder(parent, folder_name(manifest.run))
        if same is not None:
            # it is said to be there only when the bundle is what it says
            for part in manifest.parts:
                task.check()
                unpack(archive, part, manifest.parts[part], None, label)
            return ImportedBundle(read_info(same), existed=True)
        with new_folder(target) as temporary:
            for part in manifest.parts:
                task.check()
                (temporary / part).parent.mkdir(exist_ok=True)
                with (temporary / part).open("wb") as file:
                    unpack(archive, part, manifest.parts[part], file, label)
            info = read_info(temporary)
            _require_fitting(info, manifest, label)
            _require_sound(info)
            validate(temporary)
            came = f"{Path(label).name}, {this_moment()}"
            write_about(temporary, replace(read_metadata(temporary), archived=False, imported=came))
    return ImportedBundle(read_info(target), existed=False)


def _parts_of(folder: Path) -> list[Path]:
    """Files of a model folder that are parts of the model, those of its graph last."""
    graph = folder / GRAPH
    inside = sorted(graph.iterdir()) if graph.is_dir() and not graph.is_symlink() else []
    files = [*sorted(folder.iterdir()), *inside]
    return [path for path in files if is_part_name(_name(path, folder)) and path.is_file() and not path.is_symlink()]


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _require_sound(info: ModelInfo) -> None:
    """Refuse weights that hold no finite numbers, or, where torch is there to tell, do not fit their settings."""
    if is_installed("torch"):
        from skrd4ad.model_folder.network import read_student

        read_student(info)
        return
    try:
        tensors = load_file(info.folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{info.folder / WEIGHTS} is damaged or cut short ({type(error).__name__}).") from error
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise CheckpointError(
                f"{info.folder / WEIGHTS} holds values that are not finite (NaN or infinity), first in {name}. No "
                "verdict can come from them: restore the file, or train again."
            )


def _require_fitting(info: ModelInfo, manifest: BundleManifest, label: str) -> None:
    found = (info.dataset, info.class_name, info.digest, info.teacher_digest, info.model.net)
    said = (manifest.dataset, manifest.class_name, manifest.model_digest, manifest.teacher_digest, manifest.net)
    if found != said or manifest.parts[WEIGHTS].sha256 != info.digest:
        raise CheckpointError(f"{label}: the part {CONFIG} is of another model than the manifest and {WEIGHTS} say.")


def _same_content(parent: Path, manifest: BundleManifest) -> Path | None:
    """A model folder with the same parts, whatever people say of it."""
    wanted = {name: part.sha256 for name, part in manifest.parts.items() if name != ABOUT}
    for config in sorted(parent.glob(f"*/{CONFIG}")):
        folder = config.parent
        if folder.name.startswith("."):
            continue
        names = {name for path in _parts_of(folder) if (name := _name(path, folder)) != ABOUT}
        if names == set(wanted) and all(file_digest(folder / name) == digest for name, digest in wanted.items()):
            return folder
    return None


def _free_folder(parent: Path, run: str) -> Path:
    names = (run, *(f"{run}-{n}" for n in range(2, 1000)))
    free = (parent / name for name in names)
    return next(folder for folder in free if not folder.exists() and not state_file(folder).exists())


def is_part_name(name: str) -> bool:
    """Whether a file of that name in a model folder is a part of the model."""
    if name.startswith(f"{GRAPH}/"):
        return _PLAIN.fullmatch(name) is not None and name.endswith(GRAPH_SUFFIXES)
    return _PLAIN.fullmatch(name) is not None and name not in (MANIFEST, SEAL) and name.endswith(PART_SUFFIXES)


def seal_of(manifest: bytes) -> bytes:
    """What the seal of a manifest holds."""
    return content_digest(manifest).encode()


def open_bundle(source: Path | bytes, label: str) -> zipfile.ZipFile:
    """The ZIP file of a bundle."""
    try:
        return open_zip(source, label, kind="bundle", remedy="Fetch or write it again.")
    except DataError as error:
        raise CheckpointError(str(error)) from error


def checked_manifest(archive: zipfile.ZipFile, label: str) -> BundleManifest:
    """The manifest of a bundle, after all that can be checked without unpacking the parts."""
    infos = archive.infolist()
    if len(infos) > MOST_PARTS:
        raise CheckpointError(f"{label} holds {len(infos)} parts; allowed: up to {MOST_PARTS}. It is no bundle.")
    names = [info.filename.casefold() for info in infos]
    for info in infos:
        _require_plain(info, names, label)
    manifest = _manifest(archive, label)
    sizes = {info.filename: info.file_size for info in infos if info.filename not in (MANIFEST, SEAL)}
    for part in manifest.parts:
        if part not in sizes:
            raise CheckpointError(f"{label} lacks the part {part}. Fetch or write it again.")
    for name, size in sizes.items():
        if name not in manifest.parts:
            raise CheckpointError(f"{label} holds {name!r}, which its manifest does not name, so nothing is imported.")
        if size != manifest.parts[name].bytes:
            raise CheckpointError(
                f"{label}: the part {name} has {size} bytes, not the {manifest.parts[name].bytes} of the manifest."
            )
    return manifest


def _require_plain(info: zipfile.ZipInfo, names: list[str], label: str) -> None:
    if _PLAIN.fullmatch(info.filename) is None:
        raise CheckpointError(
            f"{label} holds {info.filename[:100]!r}, a path that leads elsewhere; nothing is imported."
        )
    if names.count(info.filename.casefold()) > 1:
        raise CheckpointError(f"{label} holds {info.filename!r} twice; nothing is imported.")
    hazard = hazard_of(info)
    if hazard == "link":
        raise CheckpointError(f"{label}: the part {info.filename} is a link or a device; nothing is imported.")
    if hazard == "encrypted":
        raise CheckpointError(f"{label}: the part {info.filename} is encrypted; write the bundle without a password.")


def _manifest(archive: zipfile.ZipFile, label: str) -> BundleManifest:
    text, seal = (_small(archive, name, label) for name in (MANIFEST, SEAL))
    if seal_of(text) != seal:
        raise CheckpointError(f"{label}: the part {MANIFEST} was changed; its digest is not that of {SEAL}.")
    what = f"{label}: the part {MANIFEST}"
    try:
        values = json.loads(text)
        kind = values.get("kind")
    except (ValueError, RecursionError, AttributeError) as error:
        raise documents.damaged(what, str(error)) from error
    if kind != KIND:
        raise CheckpointError(f"{what} is of {kind!r:.70}; allowed: {KIND!r}. It is no bundle of a model.")
    manifest = documents.decode(values, BundleManifest, what=what, format=FORMAT, ignore=("kind",))
    _require_allowed(manifest.parts, label)
    return manifest


def _require_allowed(parts: Mapping[str, FileEntry], label: str) -> None:
    for needed in (WEIGHTS, CONFIG):
        if needed not in parts:
            raise CheckpointError(f"{label} lacks the part {needed}; without it there is no model.")
    for name in parts:
        if not is_part_name(name):
            raise CheckpointError(
                f"{label}: its manifest names {name[:100]!r}, which is no file of a model; allowed: "
                f"{', '.join(PART_SUFFIXES)}."
            )
    total = sum(part.bytes for part in parts.values())
    if total > MOST_BYTES:
        largest = max(parts, key=lambda name: parts[name].bytes)
        raise CheckpointError(
            f"{label} takes {total / 2**30:.1f} GB unpacked, the most of it {largest}; allowed: up to "
            f"{MOST_BYTES / 2**30:.0f} GB."
        )


def _small(archive: zipfile.ZipFile, name: str, label: str) -> bytes:
    try:
        info = archive.getinfo(name)
        if info.file_size > MOST_MANIFEST_BYTES:
            raise CheckpointError(f"{label}: the part {name} has {info.file_size} bytes; it is no bundle.")
        return b"".join(read_chunks(archive, info))
    except KeyError:
        raise CheckpointError(f"{label} is no bundle of a model: it lacks the part {name}.") from None
    except DataError as error:
        raise CheckpointError(f"{label}: the part {name} is damaged ({error}).") from error


def unpack(archive: zipfile.ZipFile, name: str, part: FileEntry, target: IO[bytes] | None, label: str) -> None:
    """Copy a part of a bundle, or only check it, while its digest is taken."""
    digest = hashlib.sha256()
    try:
        for chunk in read_chunks(archive, archive.getinfo(name)):
            digest.update(chunk)
            if target is not None:
                target.write(chunk)
    except DataError as error:
        raise CheckpointError(f"{label}: the part {name} is damaged ({error}). Fetch or write it again.") from error
    if digest.hexdigest() != part.sha256:
        raise CheckpointError(f"{label}: the part {name} was changed; its SHA-256 is not that of the manifest.")
