"""Intervals by drawing images again: coverage of a known truth, and the naive way on the same draws."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from skrd4ad.errors import ConfigError, DataError, TrainingCancelled
from skrd4ad.metrics.bootstrap import METRIC_NAMES, Interval, bootstrap, paired_differences, resamples
from skrd4ad.metrics.evaluation import Metrics, evaluate
from skrd4ad.metrics.replicates import PIXEL_NAMES, count_pixels, draw_image_figures, draw_pixel_figures
from skrd4ad.task import Task
from skrd4ad.types import EvaluationSet


def a_set(*, seed: int = 3, n_good: int = 6, n_defect: int = 7, side: int = 24, gain: float = 1.2) -> EvaluationSet:
    """Good images and defects with one or two regions each; the last defect has no mask."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [n_good, n_defect]).astype(np.int64)
    masks = np.zeros((len(labels), side, side), bool)
    for index in range(n_good, len(labels) - 1):
        top, left = rng.integers(0, side - 8, 2)
        masks[index, top : top + rng.integers(2, 7), left : left + rng.integers(2, 7)] = True
        masks[index, -2:, :3] = index % 2 == 0
    maps = (rng.normal(size=masks.shape) + gain * masks).astype(np.float32)
    return EvaluationSet(
        labels=labels,
        scores=maps.max(axis=(1, 2)) + (0.4 * labels).astype(np.float32),
        defect_types=tuple("dent" if label else "good" for label in labels),
        maps=maps,
        masks=masks,
        has_mask=np.append(np.ones(len(labels) - 1, bool), False),
    )


def drawn(data: EvaluationSet, times: np.ndarray) -> EvaluationSet:
    """The test set with every image as often as it was drawn."""
    places = np.repeat(np.arange(len(times)), times)
    return EvaluationSet(
        labels=data.labels[places],
        scores=data.scores[places],
        defect_types=tuple(data.defect_types[place] for place in places),
        maps=None if data.maps is None else data.maps[places],
        masks=None if data.masks is None else data.masks[places],
        has_mask=data.has_mask[places],
        ignored=data.ignored,
    )


def figures_of(metrics: Metrics) -> np.ndarray:
    return np.array([getattr(metrics, name) for name in METRIC_NAMES], np.float64)


def fast(data: EvaluationSet, draws: np.ndarray, *, bins: int) -> tuple[np.ndarray, np.ndarray]:
    tables = count_pixels(data, bins=bins)
    assert tables is not None
    pixel_figures, bounds = draw_pixel_figures(tables, draws)
    images = draw_image_figures(data.labels, data.scores, draws)
    return np.hstack([images, pixel_figures]), np.hstack([np.zeros_like(images), bounds])


@pytest.mark.parametrize("ignoring", [False, True])
@pytest.mark.parametrize("bins", [24, 64, 3072])
def test_replicates_agree_with_the_naive_way_on_the_same_draws_within_the_stated_bound(bins, ignoring):
    data = a_set()
    if ignoring:
        ignored = np.zeros((24, 24), bool)
        ignored[:5] = True
        data = replace(data, ignored=ignored)
    draws = resamples(data.labels, replicates=25)
    found, bounds = fast(data, draws, bins=bins)
    naive = np.array([figures_of(evaluate(drawn(data, times))) for times in draws])
    exact = [name not in PIXEL_NAMES or name == "aupro_paper" for name in METRIC_NAMES]
    assert np.abs(found - naive)[:, exact].max() < 1e-12
    assert (np.abs(found - naive) <= bounds + 1e-12).all()
    # with so few pixels inside masks nothing is lost between 3072 thresholds; between 64 something must be
    assert (bounds.max() == 0) == (bins == 3072)
    assert draws[0].tolist() != draws[1].tolist()


def test_with_many_pixels_inside_masks_the_bins_shift_no_figure_by_a_thousandth():
    rng = np.random.default_rng(5)
    data = a_set(side=64)
    masks = data.masks.copy()
    masks[6:12, 20:60, 20:60] = True
    data = replace(data, masks=masks, maps=(rng.normal(size=masks.shape) + masks).astype(np.float32))
    draws = resamples(data.labels, replicates=8)
    found, bounds = fast(data, draws, bins=3072)
    naive = np.array([figures_of(evaluate(drawn(data, times))) for times in draws])
    assert 0 < np.abs(found - naive).max() < 1e-3
    assert (np.abs(found - naive) <= bounds + 1e-12).all()
    assert bounds.max() < 0.01


def test_with_few_distinct_scores_every_replicate_is_exact():
    data = a_set()
    data = replace(data, maps=np.round(data.maps * 4) / 4)
    draws = resamples(data.labels, replicates=25)
    found, bounds = fast(data, draws, bins=200)
    naive = np.array([figures_of(evaluate(drawn(data, times))) for times in draws])
    assert np.abs(found - naive).max() < 1e-12
    assert bounds.max() == 0


def test_intervals_are_the_percentiles_of_the_replicates():
    data = a_set()
    naive = [figures_of(evaluate(drawn(data, times))) for times in resamples(data.labels, replicates=60)]
    low, high = np.quantile(naive, [0.025, 0.975], axis=0)
    found = bootstrap(data, replicates=60)
    for column, name in enumerate(METRIC_NAMES):
        interval, tolerance = found.intervals[name], found.bin_errors[name] + 1e-9
        assert (interval.low, interval.high) == (
            pytest.approx(low[column], abs=tolerance),
            pytest.approx(high[column], abs=tolerance),
        )


def test_a_type_has_the_intervals_of_a_test_set_of_its_own():
    data = a_set(n_defect=8)
    types = np.array(["good"] * 6 + ["dent", "scratch"] * 4)
    types[-1] = "once"
    data = replace(data, defect_types=tuple(types.tolist()))
    found = bootstrap(data, replicates=60).by_type
    assert list(found) == ["dent", "once", "scratch"]
    for name in ("dent", "scratch"):
        alone = bootstrap(drawn(data, ((data.labels == 0) | (types == name)).astype(int)), replicates=60)
        for metric in METRIC_NAMES:
            assert found[name][metric].low == pytest.approx(alone.intervals[metric].low, abs=1e-12), metric
            assert found[name][metric].high == pytest.approx(alone.intervals[metric].high, abs=1e-12), metric
    assert found["dent"] != found["scratch"]
    # one image cannot say how much such images vary
    assert set(found["once"].values()) == {None}


def test_every_draw_keeps_the_numbers_of_good_and_defective_images():
    labels = np.array([0, 1, 1, 0, 1])
    draws = resamples(labels, replicates=200)
    assert draws.shape == (200, 5)
    assert (draws[:, labels == 0].sum(axis=1) == 2).all()
    assert (draws[:, labels == 1].sum(axis=1) == 3).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(5), abs=0.25)


def coverage(distance: float, *, sims: int) -> tuple[float, float]:
    """How often 95 % and 80 % intervals hold the true AUROC of binormal scores, 40 images of each kind."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40).astype(np.int64)
    truth = norm.cdf(distance / np.sqrt(2))
    draws = resamples(labels, replicates=400)
    hits = narrow = 0
    for _ in range(sims):
        figures = draw_image_figures(labels, rng.normal(size=80) + distance * labels, draws)[:, 0]
        low, high, low80, high80 = np.quantile(figures, [0.025, 0.975, 0.1, 0.9])
        hits += low <= truth <= high
        narrow += low80 <= truth <= high80
    return hits / sims, narrow / sims


def test_image_intervals_cover_the_true_auroc_as_often_as_they_say():
    """Intervals of so few images cover a little less than 95 %."""
    covered, narrow = coverage(1.0, sims=400)
    assert 0.91 <= covered <= 0.98
    # the band can fail: it leaves out intervals of 80 %
    assert narrow < 0.91


def test_near_one_intervals_cover_as_seldom_as_the_page_says():
    """A true AUROC of 0.99: the page says 8 times in 10."""
    assert norm.cdf(3.4 / np.sqrt(2)) == pytest.approx(0.992, abs=0.001)
    assert 0.75 <= coverage(3.4, sims=300)[0] <= 0.88


@pytest.mark.slow
def test_pixel_intervals_cover_the_truth_where_the_pixels_of_an_image_move_together():
    """Every image has its own offset; drawing pixels instead of images would give intervals that are far too narrow."""
    rng = np.random.default_rng(1)
    n, side, sims = 14, 4, 120
    labels = np.repeat([0, 1], n).astype(np.int64)
    masks = np.repeat([False, True], n)[:, None, None] & np.ones((side, side), bool)
    truth = norm.cdf(1.5 / np.sqrt(2 * (1 + 0.25)))
    hits = 0
    for _ in range(sims):
        offsets = rng.normal(size=(2 * n, 1, 1))
        maps = (offsets + 0.5 * rng.normal(size=masks.shape) + 1.5 * masks).astype(np.float32)
        data = EvaluationSet(
            labels=labels,
            scores=maps.max(axis=(1, 2)),
            defect_types=("x",) * (2 * n),
            maps=maps,
            masks=masks,
            has_mask=np.ones(2 * n, bool),
        )
        interval = bootstrap(data, replicates=200).intervals["pixel_auroc"]
        hits += interval.low <= truth <= interval.high
    assert 0.86 <= hits / sims <= 0.99


def test_a_seed_gives_the_same_intervals_and_another_seed_others():
    data = a_set()
    first, again = bootstrap(data, replicates=80, seed=7), bootstrap(data, replicates=80, seed=7)
    assert first == again
    assert bootstrap(data, replicates=80, seed=8).intervals != first.intervals


def test_the_exact_figure_lies_inside_its_interval():
    data = a_set()
    exact, found = evaluate(data), bootstrap(data, replicates=300)
    for name in METRIC_NAMES:
        interval = found.intervals[name]
        assert interval.low < getattr(exact, name) < interval.high, name


def test_two_models_that_are_one_differ_by_exactly_nothing():
    data = a_set()
    found = paired_differences(data, data, metrics_a=evaluate(data), metrics_b=evaluate(data), replicates=50)
    assert set(found) == set(METRIC_NAMES)
    for difference in found.values():
        assert difference.difference == 0
        assert difference.interval == Interval(0.0, 0.0)
        assert not difference.is_clear


def test_paired_differences_are_those_of_the_exact_figures_with_the_spread_of_paired_draws():
    a, b = a_set(gain=0.6), a_set(gain=2.5)
    metrics_a, metrics_b = evaluate(a), evaluate(b)
    found = paired_differences(a, b, metrics_a=metrics_a, metrics_b=metrics_b, replicates=60)
    draws = resamples(a.labels, replicates=60)
    naive = np.array([figures_of(evaluate(drawn(b, t))) - figures_of(evaluate(drawn(a, t))) for t in draws])
    low, high = np.quantile(naive, [0.025, 0.975], axis=0)
    for column, name in enumerate(METRIC_NAMES):
        difference = found[name]
        assert difference.difference == getattr(metrics_b, name) - getattr(metrics_a, name)
        assert difference.interval.low == pytest.approx(low[column], abs=2e-3)
        assert difference.interval.high == pytest.approx(high[column], abs=2e-3)
    assert found["aupro"].is_clear
    turned = paired_differences(b, a, metrics_a=metrics_b, metrics_b=metrics_a, replicates=60)
    assert turned["aupro"].difference == -found["aupro"].difference
    assert turned["aupro"].interval.low == pytest.approx(-found["aupro"].interval.high)


def test_models_with_maps_of_two_sizes_are_compared_on_the_same_images():
    a, b = a_set(side=24), a_set(side=16)
    found = paired_differences(a, b, metrics_a=evaluate(a), metrics_b=evaluate(b), replicates=30)
    assert found["pixel_auroc"].interval is not None


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_images_gives_no_image_interval(label):
    data = a_set()
    one = drawn(data, (data.labels == label).astype(int))
    found = bootstrap(one, replicates=20).intervals
    assert [found[name] for name in METRIC_NAMES[:3]] == [None] * 3
    assert (found["pixel_auroc"] is None) == (label == 0)


def test_without_masks_there_are_no_pixel_intervals():
    data = replace(a_set(), masks=None, has_mask=np.zeros(13, bool))
    found = bootstrap(data, replicates=20)
    assert all(found.intervals[name] is None for name in PIXEL_NAMES)
    assert found.intervals["image_auroc"] is not None
    assert set(found.bin_errors.values()) == {0.0}


def test_one_image_of_a_kind_cannot_say_how_much_such_images_vary():
    data = a_set(n_defect=2)
    found = bootstrap(data, replicates=20).intervals
    assert found["image_auroc"] is not None
    assert found["pixel_auroc"] is None  # the other defect has no mask
    single = drawn(data, np.array([1, 1, 1, 0, 0, 0, 1, 0]))
    assert set(bootstrap(single, replicates=20).intervals.values()) == {None}


def test_a_figure_that_many_draws_leave_undefined_has_no_interval():
    data = a_set(n_defect=7)
    flags = data.labels == 0
    flags[[6, 7]] = True
    # two of seven defects have a mask: one draw in ten has neither
    found = bootstrap(replace(data, has_mask=flags), replicates=200).intervals
    assert evaluate(replace(data, has_mask=flags)).pixel_auroc is not None
    assert found["pixel_auroc"] is None
    assert found["image_auroc"] is not None


def test_constant_maps_have_intervals_without_width():
    data = a_set()
    found = bootstrap(replace(data, maps=np.ones_like(data.maps)), replicates=20)
    assert found.intervals["pixel_auroc"] == Interval(0.5, 0.5)
    assert found.intervals["aupro"].low == pytest.approx(0.15)
    assert found.intervals["aupro_paper"] is None


def test_an_empty_test_set_has_no_intervals():
    empty = EvaluationSet(labels=np.zeros(0, np.int64), scores=np.zeros(0, np.float32), defect_types=())
    assert set(bootstrap(empty, replicates=5).intervals.values()) == {None}


def test_progress_counts_all_replicates_and_a_check_may_stop():
    seen: list[tuple[int, int]] = []
    bootstrap(a_set(), replicates=30, task=Task(show=lambda at: seen.append((at.done, at.total))))
    # all images, and once more for the one type of defect
    assert seen[0] == (0, 60)
    assert seen[-1] == (60, 60)

    def stop() -> None:
        raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        bootstrap(a_set(), replicates=30, task=Task(check=stop))


def test_wrong_requests_are_refused():
    data = a_set()
    with pytest.raises(ConfigError, match="0 replicates"):
        bootstrap(data, replicates=0)
    other = replace(data, labels=1 - data.labels)
    with pytest.raises(DataError, match="labels of the two test sets differ"):
        paired_differences(data, other, metrics_a=evaluate(data), metrics_b=evaluate(other))
    with pytest.raises(DataError, match="labels but"):
        bootstrap(replace(data, scores=data.scores[1:]))


@pytest.mark.parametrize("n_defect", [3, 7, 49])
def test_a_perfect_split_is_exactly_1_in_every_replicate(n_defect):
    data = a_set(n_good=11, n_defect=n_defect)
    perfect = replace(data, scores=data.labels + data.scores / 100, maps=(data.masks + data.maps / 100).astype("f4"))
    found = evaluate(perfect)
    intervals = bootstrap(perfect, replicates=50).intervals
    for name in ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max"):
        assert getattr(found, name) == 1.0
        assert intervals[name] == Interval(1.0, 1.0)
