"""The exports that a model has: listing them with their certificates, packing one for download, deleting."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skrd4ad.errors import CheckpointError
from skrd4ad.export.certificate import Certificate, read_certificate
from skrd4ad.export.manifest import EXPORTS, ExportManifest, read_export, require_intact
from skrd4ad.files import remove_folder
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import needs

State = Literal["passed", "failed", "not checked", "damaged"]


@dataclass(frozen=True, kw_only=True)
class ExportEntry:
    """An export of a model, as it is on disk."""

    folder: Path
    manifest: ExportManifest | None = None
    certificate: Certificate | None = None
    state: State
    problem: str = ""
    outdated: str = ""
    """What of the model has changed since; empty when nothing has."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return 0 if self.manifest is None else sum(entry.bytes for entry in self.manifest.files.values())


def list_exports(info: ModelInfo) -> list[ExportEntry]:
    """Exports in a model folder, by name, with their certificates; damaged ones too. Digests are not taken here."""
    parent = info.folder / EXPORTS
    if not parent.is_dir():
        return []
    folders = sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [_entry(folder, info) for folder in folders]


def pack_export(info: ModelInfo, name: str) -> tuple[str, bytes]:
    """An export as one ZIP file for download: its file name, and its bytes."""
    export = read_export(_folder_of(info, name))
    require_intact(export)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(export.folder.iterdir()):
            archive.write(path, f"{name}/{path.name}")
    return f"{folder_name(info.class_name)}-{folder_name(info.folder.name)}-{name}.zip", stream.getvalue()


@needs("engineer", "delete an export")
def delete_export(info: ModelInfo, name: str) -> None:
    """Delete an export with its certificate."""
    folder = _folder_of(info, name)
    try:
        remove_folder(folder)
    except OSError as error:
        raise CheckpointError(f"The export {folder} cannot be deleted: {error.strerror or error}.") from error


def _folder_of(info: ModelInfo, name: str) -> Path:
    names = [entry.name for entry in list_exports(info)]
    if name not in names:
        raise CheckpointError(f"There is no export {name!r} of {info.folder}; there are: {', '.join(names) or 'none'}.")
    return info.folder / EXPORTS / name


def _entry(folder: Path, info: ModelInfo) -> ExportEntry:
    try:
        export = read_export(folder)
        certificate = read_certificate(export)
    except CheckpointError as error:
        return ExportEntry(folder=folder, state="damaged", problem=str(error))
    return ExportEntry(
        folder=folder,
        manifest=export.manifest,
        certificate=certificate,
        state="not checked" if certificate is None else "passed" if certificate.passed else "failed",
        outdated=_outdated(export.manifest, info),
    )


def _outdated(manifest: ExportManifest, info: ModelInfo) -> str:
    if manifest.model.get("digest") != info.digest:
        return "it was made from other weights than the model has now"
    versions = (manifest.limits and manifest.limits.calibration, info.calibration and info.calibration.version)
    made, now = ("no calibration" if each is None else f"calibration version {each}" for each in versions)
    return "" if made == now else f"it was made with {made}; the model now has {now}"
