"""Curves for charts: the area under what is drawn is the metric, and every point is what its threshold does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from skrd4ad.documents import decode, to_plain
from skrd4ad.errors import DocumentError
from skrd4ad.metrics.aupro import pool_pixels, rates_above
from skrd4ad.metrics.curves import (
    AREA_TOLERANCE,
    CURVE_NAMES,
    POINTS,
    PRO_LIMITS,
    Curve,
    curves_of,
    image_point,
    pixel_point,
    thinned,
)
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.types import EvaluationSet

LIMITS = {"aupro": 0.30, "aupro_005": 0.05}


def smooth() -> EvaluationSet:
    """More pixels and images than a curve has points."""
    rng = np.random.default_rng(0)
    n = 1500
    labels = (rng.random(n) < 0.3).astype(np.int64)
    maps = rng.normal(size=(n, 8, 8)).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[labels == 1, 2:5, 3:6] = True
    return made(labels, (maps + masks).astype(np.float32), masks, rng.normal(size=n) + labels)


def small_regions() -> EvaluationSet:
    """A few pixels carry nearly all of the weight of PRO, among many that carry none."""
    rng = np.random.default_rng(1)
    masks = np.zeros((10, 48, 48), bool)
    masks[:5, :30, :40] = True
    masks[:5, 40:46:2, ::4] = True
    maps = (rng.normal(size=masks.shape) + masks).astype(np.float32)
    maps[:5, 40:46:2, ::4] += 1.5
    return made(np.repeat([1, 0], 5), maps, masks, rng.normal(size=10))


def few_defects() -> EvaluationSet:
    rng = np.random.default_rng(2)
    labels = np.zeros(4000, np.int64)
    labels[:12] = 1
    return made(labels, None, None, rng.normal(size=4000) + labels)


def ties() -> EvaluationSet:
    data = small_regions()
    return replace(data, maps=np.round(data.maps), scores=np.round(data.scores))


def constant() -> EvaluationSet:
    data = small_regions()
    return replace(data, maps=np.ones_like(data.maps), scores=np.ones_like(data.scores))


def made(labels, maps, masks, scores) -> EvaluationSet:
    return EvaluationSet(
        labels=labels.astype(np.int64),
        scores=scores.astype(np.float32),
        defect_types=tuple("x" if label else "good" for label in labels),
        maps=maps,
        masks=masks,
        has_mask=np.full(len(labels), masks is not None),
    )


@pytest.fixture(params=[smooth, small_regions, few_defects, ties, constant], ids=lambda make: make.__name__)
def data(request) -> EvaluationSet:
    return request.param()


def test_the_areas_are_the_metrics_and_what_is_drawn_has_them(data):
    metrics = evaluate(data)
    for curve in curves_of(data).values():
        assert len(curve.x) <= POINTS
        for name, area in curve.areas.items():
            assert area == getattr(metrics, name)
            assert curve.area(limit=LIMITS.get(name, 1.0)) == pytest.approx(area, abs=AREA_TOLERANCE), name


def test_every_metric_with_a_curve_has_one(data):
    shown = {name for curve in curves_of(data).values() for name in curve.areas}
    expected = {"image_auroc", "image_ap"}
    if data.maps is not None:
        expected |= {"pixel_auroc", "pixel_ap", "aupro", "aupro_005"}
    assert shown == expected


def test_every_point_is_what_its_threshold_does(data):
    for name, curve in curves_of(data).items():
        assert (np.diff(curve.x) >= 0).all()
        places = np.unique(np.linspace(0, len(curve.x) - 1, 25).round().astype(int))
        for place in places:
            if curve.x[place] in PRO_LIMITS or (name.endswith("_pr") and place == 0):
                continue  # interpolated at the limit; drawn to the left edge
            threshold = curve.threshold[place]
            if name.startswith("image"):
                point = image_point(data.labels, data.scores, threshold=threshold)
            else:
                point = pixel_point(data, threshold=threshold)
            assert point.on(name) == pytest.approx((curve.x[place], curve.y[place]), abs=1e-9)


def test_a_curve_without_too_many_points_is_drawn_whole():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 60)
    data = made(labels, None, None, rng.normal(size=120) + labels)
    curves = curves_of(data)
    assert len(curves["image_roc"].x) == 121
    assert curves["image_roc"].area() == pytest.approx(evaluate(data).image_auroc, abs=1e-12)
    assert len(curves["image_pr"].x) == 61
    assert curves["image_pr"].steps
    assert curves["image_pr"].area() == pytest.approx(evaluate(data).image_ap, abs=1e-12)


def test_a_pro_curve_has_a_point_at_each_limit_and_goes_to_1():
    curve = curves_of(smooth())["pro"]
    assert {0.0, *PRO_LIMITS, 1.0} <= set(curve.x)
    assert (curve.y[0], curve.y[-1]) == (0.0, pytest.approx(1.0))


def test_ignored_pixels_are_in_no_curve():
    data = small_regions()
    ignored = np.zeros((48, 48), bool)
    ignored[:20] = True
    metrics = evaluate(replace(data, ignored=ignored))
    curves = curves_of(replace(data, ignored=ignored))
    assert curves["pro"].areas["aupro"] == metrics.aupro != evaluate(data).aupro
    point = pixel_point(replace(data, ignored=ignored), threshold=0.5)
    cut = replace(data, maps=data.maps[:, 20:].copy(), masks=data.masks[:, 20:].copy())
    assert point == pixel_point(cut, threshold=0.5)


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_images_has_no_image_curve(label):
    data = few_defects()
    keep = data.labels == label
    one = made(data.labels[keep], None, None, data.scores[keep])
    assert curves_of(one) == {}
    assert pixel_point(one, threshold=0) is None


def test_good_images_alone_have_no_pixel_curve():
    data = small_regions()
    good = made(data.labels[5:], data.maps[5:], data.masks[5:], data.scores[5:])
    assert curves_of(good) == {}
    point = pixel_point(good, threshold=0.0)
    assert (point.recall, point.pro, point.precision) == (None, None, 0.0)
    assert point.on("pro") is None


def test_an_operating_point_is_counted_and_strictly_above():
    labels, scores = [0, 0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.5, 0.3, 0.4, 0.9]
    point = image_point(labels, scores, threshold=0.3)
    assert (point.false_positive_rate, point.recall, point.precision) == (1 / 4, 2 / 3, 2 / 3)
    assert point.on("image_roc") == (1 / 4, 2 / 3)
    assert point.on("image_pr") == (2 / 3, 2 / 3)
    nothing = image_point(labels, scores, threshold=1.0)
    assert (nothing.recall, nothing.precision) == (0.0, None)
    assert nothing.on("image_pr") is None


def test_a_pixel_point_is_the_one_of_the_pooled_pixels():
    data = small_regions()
    pool = pool_pixels(data.maps, data.masks, labelled=data.has_mask)
    for threshold in (-1.0, 0.3, float(data.maps[2, 5, 5]), 9.0):
        fpr, pro = rates_above(pool, np.array([threshold]))
        point = pixel_point(data, threshold=threshold)
        assert point.false_positive_rate == fpr[0]
        assert point.pro == pytest.approx(pro[0], abs=1e-12)


def test_a_threshold_between_two_floats_is_not_rounded():
    scores = np.array([0.1, 0.2], np.float32)
    # just above the float32 nearest to 0.2, and equal to it once rounded
    threshold = float(scores[1]) + 1e-10
    assert image_point([0, 1], scores, threshold=threshold).recall == 0.0


def test_a_curve_survives_json():
    for curve in curves_of(small_regions()).values():
        values = json.loads(json.dumps(to_plain(curve), allow_nan=False))
        again = decode(values, Curve, what="it")
        assert again.name in CURVE_NAMES
        assert (again.areas, again.steps) == (curve.areas, curve.steps)
        for name in ("x", "y", "threshold"):
            assert np.array_equal(getattr(again, name), getattr(curve, name))


@pytest.mark.parametrize(
    "damage", [{"name": "odd"}, {"x": ["0.0"]}, {"y": "text"}, {"areas": None}, {"threshold": [[1.0], [2.0, 3.0]]}]
)
def test_damaged_json_is_refused(damage):
    values = to_plain(curves_of(few_defects())["image_roc"]) | damage
    with pytest.raises(DocumentError, match="damaged"):
        decode(values, Curve, what="it")


def test_nothing_goes_when_nothing_must():
    assert thinned(np.arange(5.0), np.ones(5), most=5).tolist() == [0, 1, 2, 3, 4]


def test_points_of_straight_lines_go_before_corners():
    corners = np.array([0.0, 0.2, 0.3, 0.7, 1.0])
    heights = np.array([0.0, 0.6, 0.65, 0.9, 1.0])
    x = np.union1d(np.linspace(0, 1, 3001), corners)
    y = np.interp(x, corners, heights)
    kept = thinned(x, y, most=5)
    assert x[kept] == pytest.approx(corners)


def test_the_area_under_a_staircase_is_kept():
    rng = np.random.default_rng(0)
    rises = rng.random(4000) < 0.02
    x, y = np.cumsum(~rises) / np.count_nonzero(~rises), np.cumsum(rises) / np.count_nonzero(rises)
    kept = thinned(x, y, most=400)
    assert len(kept) == 400
    assert np.trapezoid(y[kept], x[kept]) == pytest.approx(np.trapezoid(y, x), abs=1e-9)


def test_steps_keep_the_area_under_steps():
    rng = np.random.default_rng(1)
    x, y = np.linspace(0.001, 1, 5000), np.linspace(1, 0.3, 5000) + 0.01 * rng.normal(size=5000)
    kept = thinned(x, y, most=500, steps=True)
    whole = np.diff(x, prepend=0) @ y
    assert np.diff(x[kept], prepend=0) @ y[kept] == pytest.approx(whole, abs=2e-3)


def test_ends_and_pinned_points_stay():
    x = np.linspace(0, 1, 100)
    pinned = np.zeros(100, bool)
    pinned[[37, 38, 39]] = True
    kept = thinned(x, x, most=4, pinned=pinned)
    assert kept.tolist() == [0, 37, 38, 39, 99]
    assert pinned.sum() == 3
