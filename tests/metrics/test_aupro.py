"""Pooled pixel metrics against a direct walk over every distinct threshold, and against scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as reference

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics import ranking
from skrd4ad.metrics.aupro import PooledPixels, aupro, overlap_at, pool_pixels, rates_above

SIDE = 12


def direct_curve(maps: np.ndarray, masks: np.ndarray) -> list[tuple[float, float]]:
    """(FPR, PRO) at every distinct threshold, highest first, from (0, 0) to (1, 1)."""
    regions = []
    for image, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [image[labels == k] for k in range(1, count + 1)]
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        fpr = float(np.mean(maps[~masks] >= threshold))
        pro = float(np.mean([np.mean(region >= threshold) for region in regions]))
        curve.append((fpr, pro))
    return curve


def direct_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    area = 0.0
    curve = direct_curve(maps, masks)
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
        else:
            y_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + y_limit) / 2) / limit
    return area / limit


def make_masks(count: int) -> np.ndarray:
    """A good image, then images with one region on the border, several regions, and regions that touch at a corner."""
    masks = np.zeros((count, SIDE, SIDE), bool)
    masks[1, :4, :3] = True
    masks[2, 1:3, 1:3] = masks[2, 6:11, 7] = masks[2, 9, 0] = True
    masks[3, 2:5, 2:5] = masks[3, 5:8, 5:8] = True
    return masks


def make_maps(kind: str, masks: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=masks.shape)
    maps = {
        "distinct": noise + masks,
        "tied": np.round(noise + masks),
        "heavily tied": (noise + masks > 0.7),
        "constant": np.full(masks.shape, 0.5),
        "perfect": noise + 20 * masks,
        "inverted": noise - 20 * masks,
    }[kind]
    return maps.astype(np.float32)


KINDS = ["distinct", "tied", "heavily tied", "constant", "perfect", "inverted"]


@pytest.fixture(params=[1 << 20, 7], ids=["one part", "many parts"])
def part_size(request, monkeypatch):
    monkeypatch.setattr(ranking, "_PART", request.param)


@pytest.mark.usefixtures("part_size")
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_aupro_agrees_with_a_walk_over_every_threshold(kind, seed, limit):
    masks = make_masks(5)
    maps = make_maps(kind, masks, seed)
    expected = direct_aupro(maps, masks, limit)
    assert aupro(pool_pixels(maps, masks), fpr_limit=limit) == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("part_size")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_pixel_metrics_agree_with_scikit_learn(kind, seed):
    masks = make_masks(5)
    maps = make_maps(kind, masks, seed)
    pool, labels, scores = pool_pixels(maps, masks), masks.ravel(), maps.ravel()
    assert pool.auroc == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    assert pool.average_precision == pytest.approx(reference.average_precision_score(labels, scores), abs=1e-12)
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = pool.f1_max
    assert best.value == pytest.approx(f1.max(), abs=1e-12)
    assert reference.f1_score(labels, scores.astype(np.float64) > best.threshold) == pytest.approx(
        best.value, abs=1e-12
    )


@pytest.mark.parametrize("part", [1, 2])
def test_pixel_f1_max_takes_the_highest_of_equally_good_thresholds(part, monkeypatch):
    monkeypatch.setattr(ranking, "_PART", part)
    # finding {4} gives 2/3, finding {4, 3, 2, 1} gives 4/6
    best = pool_pixels(np.array([[[4, 3, 2, 1]]], np.float32), np.array([[[1, 0, 0, 1]]], bool)).f1_max
    assert (best.value, best.threshold) == (pytest.approx(2 / 3), 3.5)


def test_aupro_of_a_fixed_map_keeps_its_value():
    rows, columns = np.mgrid[:16, :16]
    maps = np.stack([np.sin(rows * 0.7) * np.cos(columns * 0.4), 1 - np.hypot(rows - 6, columns - 9) / 8])
    masks = np.zeros((2, 16, 16), bool)
    masks[1, 3:9, 6:11] = masks[1, 12:14, 2:4] = True
    pool = pool_pixels(maps.astype(np.float32), masks)
    assert pool.n_regions == 2
    assert aupro(pool) == pytest.approx(0.394409577, abs=1e-9)
    assert pool.auroc == pytest.approx(0.858232833, abs=1e-9)


def test_aupro_worked_by_hand():
    # 4 defect-free pixels 1..4; a region of one pixel above 2 of them, one of two pixels above all and tied with 4
    maps = np.array([[[1, 2, 2.5, 3, 4, 4, 9]]], np.float32)
    masks = np.array([[[0, 0, 1, 0, 0, 1, 1]]], bool)
    # PRO: 1/4 at FPR 0, 1/2 from FPR 1/4, 1 from FPR 1/2
    assert aupro(pool_pixels(maps, masks), fpr_limit=0.5) == pytest.approx((0.375 * 0.25 + 0.5 * 0.25) / 0.5)


def test_pixels_that_touch_at_a_corner_are_one_region():
    assert pool_pixels(np.zeros((5, SIDE, SIDE), np.float32), make_masks(5)).n_regions == 1 + 3 + 1


@pytest.mark.parametrize("view", ["transposed", "strided"])
def test_maps_and_masks_need_not_be_contiguous(view):
    masks = make_masks(4)
    maps = make_maps("distinct", masks, 0)
    if view == "transposed":
        maps, masks = maps.transpose(0, 2, 1), masks.transpose(0, 2, 1)
    else:
        maps, masks = maps[:, ::2, 1::2], masks[:, ::2, 1::2]
    assert aupro(pool_pixels(maps, masks)) == pytest.approx(direct_aupro(maps, masks, 0.3), abs=1e-12)


def test_unlabelled_images_are_left_out_even_when_their_maps_are_not_finite():
    masks = make_masks(5)
    maps = make_maps("distinct", masks, 0)
    expected = aupro(pool_pixels(maps[:4], masks[:4]))
    maps[4] = np.nan
    assert aupro(pool_pixels(maps, masks, labelled=np.array([True] * 4 + [False]))) == expected


def test_pooling_leaves_its_input_unchanged():
    masks = make_masks(4)
    maps = make_maps("tied", masks, 0)
    before = maps.copy(), masks.copy()
    pool_pixels(maps, masks)
    np.testing.assert_array_equal(maps, before[0])
    np.testing.assert_array_equal(masks, before[1])


@pytest.mark.parametrize("case", ["no image", "no labelled image", "no region", "no defect-free pixel"])
def test_a_metric_without_both_kinds_of_pixels_is_none(case):
    maps = np.ones((0 if case == "no image" else 2, 4, 4), np.float32)
    masks = np.full(maps.shape, case == "no defect-free pixel")
    labelled = np.zeros(2, bool) if case == "no labelled image" else None
    pool = pool_pixels(maps, masks, labelled=labelled)
    assert (aupro(pool), pool.auroc, pool.average_precision, pool.f1_max) == (None, None, None, None)


def every_threshold(pool: PooledPixels) -> np.ndarray:
    """Thresholds that give every point of the curve: each score, and one below all."""
    scores = np.unique(np.concatenate([pool.negatives, pool.positives]))[::-1]
    return np.append(scores, scores[-1] - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rates_above_every_score_are_the_exact_curve(kind):
    masks = make_masks(5)
    maps = make_maps(kind, masks, 1)
    pool = pool_pixels(maps, masks)
    found = np.column_stack(rates_above(pool, every_threshold(pool)))
    assert found == pytest.approx(np.array(direct_curve(maps, masks)), abs=1e-12)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_up_to_the_overlap_at_a_limit_has_the_exact_area(kind, limit):
    masks = make_masks(5)
    pool = pool_pixels(make_maps(kind, masks, 3), masks)
    fpr, pro = rates_above(pool, every_threshold(pool))
    inside = fpr <= limit
    x, y = np.append(fpr[inside], limit), np.append(pro[inside], overlap_at(pool, limit))
    assert np.trapezoid(y, x) / limit == pytest.approx(aupro(pool, fpr_limit=limit), abs=1e-12)


def test_rates_above_count_pixels_strictly_above_a_threshold():
    pool = pool_pixels(np.array([[[1, 2, 2, 3]]], np.float32), np.array([[[0, 0, 1, 1]]], bool))
    fpr, pro = rates_above(pool, np.array([0.0, 1.0, 2.0, 3.0]))
    assert fpr.tolist() == [1, 0.5, 0, 0]
    assert pro.tolist() == [1, 1, 0.5, 0]


@pytest.mark.parametrize("limit", [0, -0.1, 1.01, float("nan")])
def test_an_impossible_fpr_limit_is_refused(limit):
    pool = pool_pixels(np.ones((4, SIDE, SIDE), np.float32), make_masks(4))
    with pytest.raises(ConfigError, match="The FPR limit is"):
        aupro(pool, fpr_limit=limit)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused_by_its_number(bad):
    maps = np.ones((4, SIDE, SIDE), np.float32)
    maps[2, 3, 4] = bad
    with pytest.raises(DataError, match="map of image 2 holds numbers that are not finite"):
        pool_pixels(maps, make_masks(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"maps": a["maps"].astype(np.float64)}, "maps are float64"),
        (lambda a: a | {"maps": a["maps"][0]}, "allowed: float32 of shape"),
        (lambda a: a | {"masks": a["masks"].astype(np.uint8)}, "masks are uint8"),
        (lambda a: a | {"masks": a["masks"][:2]}, "masks are bool of shape"),
        (lambda a: a | {"labelled": np.ones(3, bool)}, "labelled is given as bool of shape"),
        (lambda a: a | {"labelled": np.ones(4, int)}, "labelled is given as int64"),
    ],
)
def test_arrays_of_a_wrong_shape_or_type_are_refused(change, message):
    arrays = change({"maps": np.ones((4, SIDE, SIDE), np.float32), "masks": make_masks(4), "labelled": None})
    with pytest.raises(DataError, match=message):
        pool_pixels(arrays["maps"], arrays["masks"], labelled=arrays["labelled"])
