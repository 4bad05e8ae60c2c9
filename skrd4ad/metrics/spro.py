"""The saturated per-region overlap of MVTec LOCO: finding enough of a region counts as finding all of it.

Bergmann et al., "Beyond Dents and Scratches", IJCV 2022: a region with saturation area s of which a pixels are found
counts min(a / s, 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError
from skrd4ad.metrics.aupro import PooledPixels, aupro, pool_pixels

FPR_LIMIT = 0.05


@dataclass(frozen=True, eq=False)
class SaturatedRegion:
    """One labelled region, whether connected or not."""

    image: int
    """Index in the test set."""
    mask: NDArray[np.bool_]
    """(H, W)."""
    saturation: float
    """Pixels of the map from which on the region counts as found; above 0, up to those of the mask."""


def au_spro(
    maps: NDArray[np.float32],
    masks: NDArray[np.bool_],
    regions: Sequence[SaturatedRegion],
    *,
    labelled: NDArray[np.bool_] | None = None,
    fpr_limit: float = FPR_LIMIT,
) -> float | None:
    """Area under the mean sPRO of the regions over the false positive rate up to a limit, divided by the limit.

    ``maps``, ``masks``, ``labelled`` as for :func:`skrd4ad.metrics.aupro.pool_pixels`; the FPR is taken over pixels
    outside of all masks. Every distinct score is a threshold. 0 to 1; None when there is no region or no good pixel.
    """
    # a region's strongest pixels are found first: those up to its saturation weigh alike, the others nothing
    scores, weights = [np.empty(0, np.float32)], [np.empty(0)]
    for region in regions:
        own = np.sort(maps[region.image][region.mask])[::-1]
        if not 0 < region.saturation <= own.size:
            raise DataError(
                f"The saturation area is {region.saturation} of {own.size} pixels; allowed: above 0, up to all."
            )
        scores.append(own)
        weights.append(np.clip(region.saturation - np.arange(own.size), 0, 1) / region.saturation / len(regions))
    positives = np.concatenate(scores)
    order = np.argsort(positives)
    pool = pool_pixels(maps, masks, labelled=labelled)
    saturated = PooledPixels(
        negatives=pool.negatives,
        positives=positives[order],
        weights=np.concatenate(weights)[order],
        n_regions=len(regions),
    )
    return aupro(saturated, fpr_limit=fpr_limit)
