"""The black and white level of a class: which values of images above 8 bit become 0 and 255."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.decode import image_header, stored_pixels
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.types import Levels

SHARE_CUT = 0.1
"""Percent of the pixels of training images that may lie below black, and as many above white, before the margin."""
MARGIN = 0.1
"""Of the span between the two, added on both sides: defects may be darker and brighter than any good part."""
_MOST_IMAGES, _VALUES_OF_ONE = 200, 20_000


def levels_of(paths: Iterable[Path]) -> Levels | None:
    """Levels from good training images: percentiles of their pixels, with a margin, within what the files can hold.

    None when no image is above 8 bit, or all pixels have one value. Files that cannot be read are passed over.
    """
    deep = [path for path in paths if _is_deep(path)]
    chosen = [deep[at] for at in np.unique(np.linspace(0, len(deep) - 1, min(len(deep), _MOST_IMAGES)).astype(int))]
    pools: list[NDArray[np.float64]] = []
    least, most = -np.inf, np.inf
    for path in chosen:
        with suppress(ImageError):
            stored = stored_pixels(path, str(path))
            values = stored.values.reshape(-1)
            pools.append(values[:: max(1, values.size // _VALUES_OF_ONE)].astype(np.float64))
            if stored.values.dtype.kind == "u":
                least, most = 0.0, float(stored.full)
    pool = np.concatenate(pools) if pools else np.zeros(0)
    pool = pool[np.isfinite(pool)]
    if not pool.size:
        return None
    low, high = np.percentile(pool, [SHARE_CUT, 100 - SHARE_CUT])
    if low == high:
        return None
    margin = MARGIN * (high - low)
    black, white = max(least, low - margin), min(most, high + margin)
    if most < np.inf:
        black, white = np.floor(black), np.ceil(white)
    return Levels(float(f"{black:.6g}"), float(f"{white:.6g}"))


def given_levels(*, black: float | None, white: float | None, bits: int | None) -> Levels | None:
    """Levels as somebody gives them; None when nothing is given.

    Raises:
        ConfigError: only one of the two, both and bits, or values that are none.
    """
    if bits is not None:
        if black is not None or white is not None or not 9 <= bits <= 16:
            raise ConfigError(f"bits is {bits}; allowed: 9 to 16, without a black and a white level.")
        return Levels(0, 2**bits - 1)
    if (black is None) != (white is None):
        raise ConfigError(f"black is {black}, white is {white}; give both, or bits.")
    return None if black is None or white is None else Levels(black, white)


def _is_deep(path: Path) -> bool:
    try:
        return image_header(path).deep
    except ImageError:
        return False
