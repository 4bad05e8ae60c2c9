"""Pictures as they are sent to the browser."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.errors import DataError

JPEG_QUALITY = 92


def require_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is no RGB image (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"The image has the shape {image.shape} and type {image.dtype}; allowed: (H, W, 3) uint8.")


def require_map(scores: NDArray[np.floating], name: str = "anomaly map") -> None:
    """Refuse what is no map (H, W) of finite numbers."""
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise DataError(f"The {name} (shape {scores.shape}) must be (H, W) and hold finite numbers only.")


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """JPEG of an image (H, W, 3) RGB for viewing, without chroma subsampling: thin coloured defects stay sharp."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def reduced(image: NDArray[np.uint8], longer_side: int) -> NDArray[np.uint8]:
    """The image (H, W, 3), made smaller where its longer side has more pixels."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def mask_at(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask at another size (H, W, …), by the nearest pixel."""
    if mask.shape == tuple(shape[:2]):
        return mask
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0)
