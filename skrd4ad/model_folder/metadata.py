"""What people say of a model: its name, a note, whether it is archived. It is not part of what the model is."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skrd4ad import documents
from skrd4ad.errors import ConfigError
from skrd4ad.files import locked, write_json
from skrd4ad.model_folder.info import ModelInfo, read_info

ABOUT = "about.json"
FORMAT = 1
LONGEST_NAME = 80
LONGEST_NOTE = 4000


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What people say of a model."""

    name: str = ""
    """In place of its title; empty for none."""
    note: str = ""
    archived: bool = False
    """Kept, but not offered where a model is chosen."""
    imported: str = ""
    """Bundle it came in, and when; empty for a model that was made here."""
    adopted: bool = False
    """Used in place of the model that it went on from."""


def read_metadata(folder: Path) -> ModelMetadata:
    """What people say of a model; nothing where nobody has said anything.

    Raises:
        CheckpointError: ``about.json`` is damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        return ModelMetadata()
    return documents.read(path, ModelMetadata, format=FORMAT, remedy="Delete it, or restore it.")


def write_about(folder: Path, about: ModelMetadata) -> None:
    """Store what people say of a model, in place of what was said before."""
    write_json(folder / ABOUT, about, format=FORMAT)


def change_metadata(
    folder: Path,
    *,
    name: str | None = None,
    note: str | None = None,
    archived: bool | None = None,
    adopted: bool | None = None,
) -> ModelMetadata:
    """Change what people say of a model; None leaves each as it is. An empty name brings its title back."""
    name, note = (None if text is None else text.strip() for text in (name, note))
    if name is not None and (len(name) > LONGEST_NAME or len(name.splitlines()) > 1):
        raise ConfigError(
            f"The name has {len(name)} characters in {len(name.splitlines())} lines; allowed: one line of up to "
            f"{LONGEST_NAME} characters."
        )
    if note is not None and len(note) > LONGEST_NOTE:
        raise ConfigError(f"The note has {len(note)} characters; allowed: up to {LONGEST_NOTE}.")
    given: dict[str, Any] = {"name": name, "note": note, "archived": archived, "adopted": adopted}
    with locked(folder):
        read_info(folder)
        about = replace(read_metadata(folder), **{key: value for key, value in given.items() if value is not None})
        write_about(folder, about)
    return about


def title_of(info: ModelInfo, about: ModelMetadata) -> str:
    """The name people gave a model, or its title."""
    return about.name or info.title
