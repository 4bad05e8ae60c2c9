"""What an image looks like apart from its content: exposure, contrast, sharpness, noise, colour and size.

All but width and height are measured at the size the model sees, so that a larger photograph of the same part gives
the same figures. A defect changes a part of the image, the camera and the lamps change all of it: the figures are
medians and quantiles, which a defect of a tenth of the image moves little.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import resize_image

CLIPPED = 2
"""Grey levels from either end of the range that count as clipped."""
FINE, COARSE = 1.0, 2.0
"""Sigmas, in pixels, of the two scales that sharpness compares. The finer one already takes most of the sensor's noise
away, which would otherwise make an unsharp image look sharp."""
_GRAIN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Difference of two Laplacians: flat areas, slopes and straight edges give nearly 0, noise of sigma s gives 6 s."""
_LOWER_HALF = 0.3247
"""Mean of the lower half of the absolute values of a standard normal distribution."""


@dataclass(frozen=True)
class ImageStatistics:
    """Figures of one image."""

    width: int
    height: int
    shadows: float
    """Grey level below which a tenth of the pixels lie, 0..255."""
    brightness: float
    """Median grey level."""
    lights: float
    """Grey level above which a tenth of the pixels lie."""
    dark: float
    """Share of pixels that are black, 0..1."""
    bright: float
    """Share of pixels that are white, 0..1."""
    contrast: float
    """Standard deviation of the grey levels."""
    sharpness: float
    """Strength of the edges at a fine scale in percent of that at twice the scale. Blur takes the fine scale first,
    whatever the contrast and however many edges there are."""
    noise: float
    """Standard deviation of the finest grain in grey levels, from the evener half of the image."""
    green_red: float
    """Median a of CIELAB: below 0 green, above 0 red."""
    blue_yellow: float
    """Median b of CIELAB: below 0 blue, above 0 yellow."""

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


def image_statistics(
    image: NDArray[np.uint8], *, size: int, resized: NDArray[np.uint8] | None = None
) -> ImageStatistics:
    """Statistics of an image (H, W, 3) RGB; ``resized`` is the square of ``size`` pixels that the model sees, if it is
    at hand."""
    square = resized
    if square is None or square.shape[:2] != (size, size):
        square = image if image.shape[:2] == (size, size) else resize_image(image, size)
    colours = square.astype(np.float32) / 255
    grey = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY) * 255, np.float32)
    shadows, brightness, lights = (float(level) for level in np.quantile(grey, (0.1, 0.5, 0.9)))
    grain = np.abs(cv2.filter2D(grey, cv2.CV_32F, _GRAIN)[1:-1, 1:-1]).ravel()
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)
    return ImageStatistics(
        width=image.shape[1],
        height=image.shape[0],
        shadows=shadows,
        brightness=brightness,
        lights=lights,
        dark=float((grey <= CLIPPED).mean()),
        bright=float((grey >= 255 - CLIPPED).mean()),
        contrast=float(grey.std()),
        sharpness=_sharpness(grey),
        noise=float(np.partition(grain, grain.size // 2)[: grain.size // 2].mean()) / (6 * _LOWER_HALF),
        green_red=float(np.median(lab[..., 1])),
        blue_yellow=float(np.median(lab[..., 2])),
    )


def _sharpness(grey: NDArray[np.float32]) -> float:
    fine, coarse = (
        float(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), sigma), cv2.CV_32F).std()) for sigma in (FINE, COARSE)
    )
    # an even surface has no edges to judge by; what is left there is rounding
    return 100 * fine / coarse if coarse > 1e-3 else 0.0
