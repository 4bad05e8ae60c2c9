"""Small pictures of parts that show what a model does, drawn once and kept in its folder.

The heat is a picture of its own with transparency, to be laid over the photograph. Photographs of an embedded data set
stay where they are; others are kept beside the heat. Bundles do not carry them:
not all that is shown is to be handed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from skrd4ad import documents
from skrd4ad.errors import CheckpointError
from skrd4ad.files import locked, new_folder, remove_folder, write_json

PICTURES = "pictures"
PARTS = "parts.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class PicturedPart:
    """A test image of the model's own data set, and what the model says of it."""

    name: str
    """File name."""
    photograph: str
    """File in the folder of the pictures, or below the root of the embedded data set."""
    embedded: bool
    heat: str
    """File in the folder of the pictures: PNG with transparency, of any size, over the whole photograph."""
    score: float
    truth: str
    """``good`` or the type of the defect."""
    calibration: int
    """Version whose limit the heat is anchored at."""


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    parts: tuple[PicturedPart, ...]


def read_pictures(folder: Path) -> tuple[PicturedPart, ...]:
    """The pictured parts of a model folder; none where none were drawn, or where they are damaged."""
    try:
        parts = documents.read(folder / PICTURES / PARTS, _Pictures, format=FORMAT).parts
    except (OSError, CheckpointError):
        return ()
    named = (name for part in parts for name in (part.heat, part.photograph))
    return parts if all(".." not in PurePath(name).parts and not PurePath(name).is_absolute() for name in named) else ()


def write_pictures(folder: Path, parts: Sequence[PicturedPart], files: Mapping[str, bytes]) -> None:
    """Replace the pictured parts of a model folder; ``files``: contents by file name."""
    with locked(folder):
        if (folder / PICTURES).is_dir():
            remove_folder(folder / PICTURES)
        with new_folder(folder / PICTURES) as temporary:
            for name, content in files.items():
                (temporary / name).write_bytes(content)
            write_json(temporary / PARTS, _Pictures(parts=tuple(parts)), format=FORMAT)
