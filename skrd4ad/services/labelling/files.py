"""Files behind labels: the images people look at, and the masks they draw, kept by content and never overwritten."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.data.images.read import read_image, read_mask
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.errors import DataError, ImageError
from skrd4ad.files import new_file
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.types import Levels

MASKS = "masks"


def stored_path(file: str) -> Path:
    """Where a stored file is."""
    return workspace() / file  # an absolute path stays what it is


def checked_path(file: str, *, digest: str, name: str) -> Path:
    """Where a stored file is, once it is certain that it still holds what was stored.

    Raises:
        ImageError: it is gone, or was changed since it was put into the queue.
    """
    path = stored_path(file)
    if not path.is_file():
        raise ImageError(
            f"{name} is not at {path} any more. Its labels are kept; put the file back there to see it again."
        )
    if file_digest(path, error=ImageError) != digest:
        raise ImageError(
            f"{path} was changed since it was put into the queue as {name}. Its labels belong to the file as it "
            "was: put that back, or add the new one to the queue as an image of its own."
        )
    return path


def labelled_image(item: QueueItem, *, levels: Levels | None = None) -> NDArray[np.uint8]:
    """The picture of an image: (H, W, 3) RGB. ``levels``: of the model that is looked at.

    Raises:
        ImageError: its file is gone, was changed since it was put into the queue, or cannot be read.
    """
    return read_image(checked_path(item.file, digest=item.digest, name=item.name), name=item.name, levels=levels)


@needs("inspector", "keep a mask")
def save_mask_file(mask: NDArray[np.bool_]) -> str:
    """Keep a mask, (H, W) as its image, as a PNG named by its content; returns its path below the workspace."""
    return keep_content(mask_png(mask), MASKS, ".png").relative_to(workspace()).as_posix()


@needs("inspector", "keep a file")
def keep_content(content: bytes, folder: str, suffix: str) -> Path:
    """Where a file is kept in a folder of the workspace, by its content; written when it is not there yet."""
    path = workspace() / folder / f"{content_digest(content)}{suffix}"
    if not path.is_file():
        with new_file(path) as temporary:
            temporary.write_bytes(content)
    return path


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """A mask as a PNG with 255 where it is true."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG")
    return buffer.getvalue()


def load_mask_file(file: str, *, shape: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """A kept mask: (H, W), which must be ``shape`` when that is known.

    Raises:
        DataError: it is gone (ImageError), or has another size.
    """
    mask = read_mask(workspace() / file)
    if shape is not None and mask.shape != shape:
        raise DataError(
            f"The mask {file} has {mask.shape[1]} x {mask.shape[0]} pixels, its image {shape[1]} x {shape[0]}. "
            "Draw it again."
        )
    return mask
