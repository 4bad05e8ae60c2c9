"""Image files in folders that others write to: which there are, and taking one into a queue."""

import os
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.images.read import is_hidden, is_image
from skrd4ad.errors import DataError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import inside_data_roots
from skrd4ad.services.labelling.add_images import add_files
from skrd4ad.storage.watched_folders import SeenFile, State


@dataclass(frozen=True)
class FoundFile:
    """An image file in a folder."""

    name: str
    """Path below the folder, as text."""
    path: Path
    state: State


def list_files(folder: Path) -> dict[str, FoundFile]:
    """Image files in a folder and its sub-folders, by name; hidden ones and linked folders are left out.

    Raises:
        DataError: the folder is gone, cannot be listed, or is outside the data roots.
    """
    found: dict[str, FoundFile] = {}
    root = inside_data_roots(folder)

    def refuse(error: OSError) -> None:
        raise error

    try:
        for here, folders, files in os.walk(root, onerror=refuse):
            inside = Path(here)
            folders[:] = [name for name in folders if not is_hidden(Path(name))]
            for path in (inside / name for name in files if is_image(Path(name))):
                try:
                    state = path.stat()
                except OSError:  # gone again, or a link to nowhere
                    continue
                # the name of a file may be any bytes, and is kept as text
                name = path.relative_to(root).as_posix().encode(errors="backslashreplace").decode()
                found[name] = FoundFile(name, path, (state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed ({error.strerror}). Check that it is there.") from error
    return found


def take_file(info: ModelInfo, file: FoundFile) -> SeenFile | None:
    """Put a file into the queue, or say why it cannot be; None when it is gone or changes still.

    Raises:
        CheckpointError: it cannot be kept.
        StorageError: the database cannot be written.
    """
    try:
        inside_data_roots(file.path)
        content = file.path.read_bytes()
        state = file.path.stat()
    except OSError:
        return None
    except DataError:
        note = f"{file.name}: a link that leads outside the folders this app may read. Put the image itself there."
        return SeenFile(name=file.name, state=file.state, note=note)
    if (state.st_size, state.st_mtime_ns) != file.state:
        return None
    added = add_files(info, [(file.name, content)], origin="watch")
    return SeenFile(
        name=file.name,
        state=file.state,
        image_digest=next(iter(added.digests), None),
        note=next(iter(added.problems), None),
    )
