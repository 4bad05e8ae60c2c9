"""A model as one file, for another machine: writing it, and importing it once every part has been checked.

The parts are the files directly in the model folder. Exports are not among them, and neither are the teacher's weights:
they have a licence and a size of their own; the model names the digest of those it needs, and loading checks it.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import skrd4ad
from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError
from skrd4ad.files import FileEntry, locked, new_file, new_folder
from skrd4ad.model_folder.bundle_archive import (
    MANIFEST,
    SEAL,
    BundleManifest,
    checked_manifest,
    is_part_name,
    open_bundle,
    seal_of,
    unpack,
)
from skrd4ad.model_folder.calibration import this_moment
from skrd4ad.model_folder.folder import folder_name, read_student
from skrd4ad.model_folder.info import CONFIG, WEIGHTS, ModelInfo, read_info
from skrd4ad.model_folder.metadata import ABOUT, read_metadata, write_about
from skrd4ad.model_folder.resume_state import state_file
from skrd4ad.task import QUIET, Task

SUFFIX = ".skrd4ad.zip"


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
        files = [path for path in sorted(folder.iterdir()) if _is_part(path)]
        manifest = BundleManifest(
            dataset=info.dataset,
            class_name=info.class_name,
            run=info.folder.name,
            model_digest=info.digest,
            net=info.model.net,
            teacher_digest=info.teacher_digest,
            made_at=this_moment(),
            made_with=skrd4ad.__version__,
            parts={path.name: FileEntry.of(path) for path in files},
        )
        if manifest.parts[WEIGHTS].sha256 != info.digest:
            raise CheckpointError(f"{folder / WEIGHTS} was changed or damaged after it was written; restore it.")
        text = json.dumps(manifest.to_plain(), indent=2, ensure_ascii=False, allow_nan=False).encode()
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            archive.writestr(MANIFEST, text)
            archive.writestr(SEAL, seal_of(text))
            for path in files:
                # trained weights do not get smaller
                archive.write(path, path.name, zipfile.ZIP_STORED if path.name == WEIGHTS else zipfile.ZIP_DEFLATED)
    return manifest


def read_bundle(source: Path | bytes, *, name: str | None = None) -> BundleManifest:
    """What a bundle says it holds; names, sizes and the manifest are checked, the contents of the parts are not."""
    label = _label(source, name)
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
    label = _label(source, name)
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
                with (temporary / part).open("wb") as file:
                    unpack(archive, part, manifest.parts[part], file, label)
            info = read_info(temporary)
            _require_fitting(info, manifest, label)
            read_student(info)
            validate(temporary)
            came = f"{Path(label).name}, {this_moment()}"
            write_about(temporary, replace(read_metadata(temporary), archived=False, imported=came))
    return ImportedBundle(read_info(target), existed=False)


def _is_part(path: Path) -> bool:
    return is_part_name(path.name) and path.is_file() and not path.is_symlink()


def _label(source: Path | bytes, name: str | None) -> str:
    if name is not None:
        return name
    return "the bundle" if isinstance(source, bytes) else str(source)


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
        names = {path.name for path in folder.iterdir() if _is_part(path) and path.name != ABOUT}
        if names == set(wanted) and all(file_digest(folder / name) == digest for name, digest in wanted.items()):
            return folder
    return None


def _free_folder(parent: Path, run: str) -> Path:
    names = (run, *(f"{run}-{n}" for n in range(2, 1000)))
    free = (parent / name for name in names)
    return next(folder for folder in free if not folder.exists() and not state_file(folder).exists())
