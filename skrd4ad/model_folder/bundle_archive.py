"""The file format of a bundle: a ZIP file of a model's parts, a manifest with their SHA-256 and sizes, and its seal.

Nothing of a bundle is believed before it is checked: names, sizes, the manifest's own digest, then each part while it
is unpacked. What is wrong is named.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from skrd4ad import documents
from skrd4ad.data.images.archives import hazard_of, open_zip, read_chunks
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.files import FileEntry
from skrd4ad.model_folder.info import CONFIG, WEIGHTS

MANIFEST, SEAL = "manifest.json", "manifest.sha256"
"""The list of parts, and its own digest."""
FORMAT = 1
KIND = "skrd4ad model"
MOST_PARTS = 200
MOST_BYTES = 4 * 2**30
"""Of all parts together, unpacked."""
MOST_MANIFEST_BYTES = 2**20
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
SUFFIXES = (".safetensors", ".json", ".md", ".png")


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


def is_part_name(name: str) -> bool:
    """Whether a file of that name in a model folder is a part of the model."""
    return _PLAIN.fullmatch(name) is not None and name not in (MANIFEST, SEAL) and name.endswith(SUFFIXES)


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
                f"{', '.join(SUFFIXES)}."
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
