"""The paper's AUPRO against a direct walk: binarise, label, and measure every region at every threshold."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import auc

from skrd4ad.errors import DataError
from skrd4ad.metrics.aupro_paper import aupro_paper_protocol


def direct_image_aupro(image: np.ndarray, mask: np.ndarray) -> float:
    image = image.astype(np.float64)
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    fprs, pros = [], []
    for threshold in np.arange(image.min(), image.max(), (image.max() - image.min()) / 200):
        found = image > threshold
        fpr = (found & ~mask).sum() / (~mask).sum()
        if fpr < 0.3:
            fprs.append(fpr)
            pros.append(np.mean([found[labels == k].mean() for k in range(1, count + 1)]))
    return auc(np.array(fprs) / max(fprs), pros)


def make_set(seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((3, 24, 24), bool)
    masks[1, :6, :5] = masks[1, 10:12, 10:20] = masks[1, 20, 3] = True
    masks[2, 4:9, 4:9] = masks[2, 9:12, 9:12] = True
    maps = ndimage.gaussian_filter(rng.normal(size=masks.shape), (0, 2, 2)) + 0.2 * masks
    return np.round(maps, decimals).astype(np.float32), masks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [7, 1])
def test_agrees_with_a_direct_walk_over_images_and_thresholds(seed, decimals):
    maps, masks = make_set(seed, decimals)
    expected = np.mean([direct_image_aupro(maps[i], masks[i]) for i in (1, 2)])
    assert aupro_paper_protocol(maps, masks) == pytest.approx(expected, abs=1e-12)


def test_a_point_at_exactly_the_limit_is_not_kept():
    # three of ten defect-free pixels lie above the threshold that lies between 6 and 7
    image, mask = np.append(np.arange(10), 7.5).astype(np.float32)[None], np.arange(11)[None] == 10
    assert aupro_paper_protocol(image[None], mask[None]) == pytest.approx(direct_image_aupro(image, mask), abs=1e-12)


def test_only_labelled_images_count():
    maps, masks = make_set(0, 7)
    alone = aupro_paper_protocol(maps, masks, labelled=np.array([True, False, True]))
    assert alone == pytest.approx(direct_image_aupro(maps[2], masks[2]), abs=1e-12)


def _constant_map(maps, masks):
    maps[1] = 3


def _covering_mask(maps, masks):
    masks[1] = True


def _no_false_positive_under_the_limit(maps, masks):
    maps[1] = masks[1]
    maps[1, :, 12:] = 1


@pytest.mark.parametrize("spoil", [_constant_map, _covering_mask, _no_false_positive_under_the_limit])
def test_an_image_without_a_figure_is_left_out_of_the_mean(spoil):
    maps, masks = make_set(1, 7)
    spoil(maps, masks)
    assert aupro_paper_protocol(maps[:2], masks[:2]) is None
    assert aupro_paper_protocol(maps, masks) == pytest.approx(direct_image_aupro(maps[2], masks[2]), abs=1e-12)


def test_a_map_equal_to_its_mask_has_no_axis_to_rescale():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 2:4, 2:4] = True
    assert aupro_paper_protocol(mask.astype(np.float32), mask) is None


def test_good_images_alone_give_none():
    assert aupro_paper_protocol(np.ones((2, 4, 4), np.float32), np.zeros((2, 4, 4), bool)) is None


def test_a_map_that_is_not_finite_is_refused():
    maps, masks = make_set(0, 7)
    maps[2, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        aupro_paper_protocol(maps, masks)
