"""The saturated overlap of MVTec LOCO, against the definition counted threshold by threshold."""

import numpy as np
import pytest

from skrd4ad.errors import DataError
from skrd4ad.metrics.aupro import aupro, pool_pixels, share_of_region
from skrd4ad.metrics.spro import SaturatedRegion, au_spro


def by_definition(maps, masks, regions, limit):
    """Mean over regions of min(found / saturation, 1) at every threshold, integrated over the FPR up to the limit."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        fpr = (above & ~masks).sum() / (~masks).sum()
        found = [min((above[r.image] & r.mask).sum() / r.saturation, 1.0) for r in regions]
        points.append((fpr, float(np.mean(found))))
    fpr, spro = np.array(points).T
    inside = fpr <= limit
    x, y = fpr[inside], spro[inside]
    if x[-1] < limit:
        after = int(np.argmin(inside))
        share = (limit - x[-1]) / (fpr[after] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + share * (spro[after] - y[-1]))
    return float(np.trapezoid(y, x)) / limit


def drawn(seed, levels=None):
    """Maps of 5 images, three of them with regions that overlap in one."""
    rng = np.random.default_rng(seed)
    maps = rng.random((5, 16, 16)).astype(np.float32)
    if levels is not None:
        maps = (np.rint(maps * levels) / levels).astype(np.float32)
    masks, regions = np.zeros((5, 16, 16), bool), []
    for image, rows, columns, saturation in (
        (1, slice(2, 8), slice(2, 8), 9.0),
        (1, slice(6, 12), slice(6, 12), 36.0),
        (2, slice(0, 3), slice(0, 16), 1.0),
        (3, slice(10, 14), slice(3, 9), 7.5),
    ):
        mask = np.zeros((16, 16), bool)
        mask[rows, columns] = True
        masks[image] |= mask
        maps[image][mask] += np.float32(0.3)
        regions.append(SaturatedRegion(image, mask, saturation))
    return maps, masks, regions


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_spro_is_that_of_the_definition(seed, limit):
    maps, masks, regions = drawn(seed)
    expected = by_definition(maps, masks, regions, limit)
    assert au_spro(maps, masks, regions, fpr_limit=limit) == pytest.approx(expected, abs=1e-9)


def test_without_saturation_it_is_the_pro_of_the_same_regions():
    maps, masks, _ = drawn(0)
    masks[1, 6:12, 6:12] = False  # regions that touch count as one for AUPRO
    masks[1, 2:8, 2:8] = True
    regions = [SaturatedRegion(i, masks[i], float(masks[i].sum())) for i in (1, 2, 3)]
    assert all(share_of_region(masks[i])[1] == 1 for i in (1, 2, 3))
    expected = aupro(pool_pixels(maps, masks), fpr_limit=0.05)
    assert au_spro(maps, masks, regions) == pytest.approx(expected, abs=1e-12)


def test_without_regions_there_is_none():
    maps, masks, _ = drawn(0)
    assert au_spro(maps, np.zeros_like(masks), []) is None


@pytest.mark.parametrize("saturation", [0.0, 37.0])
def test_saturation_beyond_the_region_is_refused(saturation):
    maps, masks, regions = drawn(0)
    with pytest.raises(DataError, match="of 36 pixels; allowed: above 0, up to all"):
        au_spro(maps, masks, [SaturatedRegion(1, regions[0].mask, saturation)])
