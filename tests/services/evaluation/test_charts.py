"""What the charts hold is what was measured; each bar and cell knows its images."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from skrd4ad.errors import ConfigError
from skrd4ad.metrics.bootstrap import Interval
from skrd4ad.metrics.curves import AREA_TOLERANCE, CURVE_NAMES, PRO_LIMITS
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.services.evaluation.chart_parts import ChartColours
from skrd4ad.services.evaluation.charts import BAR_METRICS, class_bars, confusion_chart, difference_chart, escape_bars
from skrd4ad.services.evaluation.compare import compare
from skrd4ad.services.evaluation.curve_chart import curve_chart
from skrd4ad.services.evaluation.operating_points import Findings, findings
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from tests.evaluation_world import EvaluationWorld


@pytest.fixture
def stored(evaluated: EvaluationWorld) -> StoredEvaluation:
    return evaluated.stored()


@pytest.fixture
def found(evaluated: EvaluationWorld, stored: StoredEvaluation) -> Findings:
    """With a review limit, and something in every cell."""
    low, high = np.quantile(stored.scores, [0.3, 0.6]).tolist()
    current = evaluated.info().calibration
    save_calibration(evaluated.first, replace(current, image_threshold=high, review_threshold=low, pixel_threshold=low))
    return findings(stored, stored.limits()[0])


def bar(figure: go.Figure, name: str) -> go.Bar:
    return next(trace for trace in figure.data if trace.name == name)


def values_of(trace: go.Bar) -> list[float | None]:
    return [None if y is None else y + (trace.base or 0) for y in trace.y]


def as_json(figure: go.Figure) -> dict[str, Any]:
    return json.loads(figure.to_json())


def as_carpet(summary: EvaluationSummary, **changes: Any) -> EvaluationSummary:
    return replace(summary, dataset="mvtec", class_name="carpet", **changes)


@pytest.mark.parametrize("metric", BAR_METRICS)
def test_bars_are_the_figures_with_their_intervals(stored: StoredEvaluation, metric: str) -> None:
    figure = class_bars([stored.summary], metric=metric)
    ours = bar(figure, "Measured here")
    value, interval = getattr(stored.summary.metrics, metric), stored.summary.intervals.intervals[metric]
    assert values_of(ours) == [pytest.approx(value, abs=1e-12)]
    assert [list(each) for each in ours.customdata] == [[stored.summary.key, value]]
    assert value + ours.error_y.array[0] == pytest.approx(interval.high)
    assert value - ours.error_y.arrayminus[0] == pytest.approx(interval.low)
    assert figure.layout.yaxis.range[0] <= min(value, interval.low)


@pytest.mark.parametrize(("metric", "published"), [("pixel_auroc", (0.989, 0.992)), ("aupro", (0.970, 0.977))])
def test_published_figures_stand_beside_them_hatched_and_named(
    stored: StoredEvaluation, metric: str, published: tuple[float, float]
) -> None:
    figure = class_bars([as_carpet(stored.summary), stored.summary], metric=metric)
    for method, value in zip(("RD4AD", "SK-RD4AD"), published, strict=True):
        trace = bar(figure, f"{method} (published)")
        assert values_of(trace) == [pytest.approx(value), None]
        assert trace.marker.pattern.shape
        assert trace.error_y.array is None
    if metric == "aupro":
        ours = bar(figure, "Measured here, paper protocol")
        assert values_of(ours)[0] == pytest.approx(stored.summary.metrics.aupro_paper)
        assert "published: paper protocol" in figure.layout.yaxis.title.text
    assert figure.layout.showlegend


def test_nobody_published_aupro_at_005_or_a_class_of_ones_own(stored: StoredEvaluation) -> None:
    assert [trace.name for trace in class_bars([as_carpet(stored.summary)], metric="aupro_005").data] == [
        "Measured here"
    ]
    assert len(class_bars([stored.summary], metric="pixel_auroc").data) == 1


def test_classes_are_told_apart_and_test_selected_ones_are_badged(evaluated: EvaluationWorld) -> None:
    first, second = evaluated.stored().summary, evaluated.stored(evaluated.second).summary
    run = second.model_folder.with_name("20260131-120000-efficientnet_lite0-res3")
    shown = [
        first,
        replace(second, model_folder=run),
        replace(first, class_name="blister", test_selected=True),
        replace(first, dataset="other", class_name="blister"),
    ]
    names = list(class_bars(shown, metric="image_auroc").data[0].x)
    # lines are short where many bars stand beside each other
    assert names == [
        "machined_<br>disc<br>first",
        "machined_<br>disc<br>20260131-<br>120000-<br>efficientnet_<br>lite0-res3",
        "parts/blister<br>(test-selected)",
        "other/blister",
    ]
    few = list(class_bars(shown[:2], metric="image_auroc").data[0].x)
    assert few[1] == "machined_disc<br>20260131-120000-<br>efficientnet_<br>lite0-res3"


def test_a_figure_that_is_undefined_has_no_bar(stored: StoredEvaluation) -> None:
    without = replace(stored.summary, metrics=replace(stored.summary.metrics, aupro=None))
    assert len(class_bars([without], metric="aupro").data) == 0
    assert list(class_bars([without, stored.summary], metric="aupro").data[0].x) == ["machined_disc"]
    with pytest.raises(ConfigError, match="image_ap"):
        class_bars([stored.summary], metric="image_ap")


def test_a_figure_outside_its_own_interval_has_no_negative_whisker(stored: StoredEvaluation) -> None:
    odd = {**stored.summary.intervals.intervals, "aupro_005": Interval(0.98, 0.99)}
    summary = replace(stored.summary, intervals=replace(stored.summary.intervals, intervals=odd))
    whiskers = class_bars([summary], metric="aupro_005").data[0].error_y
    assert whiskers.arrayminus[0] == 0
    assert whiskers.array[0] > 0


@pytest.mark.parametrize("name", CURVE_NAMES)
def test_a_curve_is_drawn_as_it_was_measured_with_its_limits(
    stored: StoredEvaluation, found: Findings, name: str
) -> None:
    figure = curve_chart([stored], name=name, findings=[found])
    line = next(trace for trace in figure.data if trace.mode == "lines" and trace.name != "Chance")
    curve = stored.curves[name]
    assert np.array_equal(line.x, curve.x)
    assert np.array_equal(line.y, curve.y)
    assert np.array_equal(line.customdata, curve.threshold)
    assert (line.line.shape == "vh") == curve.steps
    for metric, value in curve.areas.items():
        assert value == getattr(stored.summary.metrics, metric)
        limit = {"aupro": 0.3, "aupro_005": 0.05}.get(metric, 1.0)
        assert curve.area(limit=limit) == pytest.approx(value, abs=AREA_TOLERANCE)
        assert f"{value:.3f}"[:4] in line.name
    points = {trace.name: (trace.x[0], trace.y[0]) for trace in figure.data if trace.mode == "markers"}
    if name.startswith("image"):
        assert sorted(points.values()) == sorted([found.image_point.on(name), found.review_point.on(name)])
        assert {trace.marker.symbol for trace in figure.data if trace.mode == "markers"} == {"triangle-up", "diamond"}
    else:
        assert list(points.values()) == [found.pixel_point.on(name)]


def test_a_pro_chart_marks_both_limits(stored: StoredEvaluation) -> None:
    figure = curve_chart([stored], name="pro")
    texts = [note.text for note in figure.layout.annotations]
    assert texts == ["AUPRO to 0.05", "AUPRO to 0.30"]
    edges = {shape.x1 for shape in figure.layout.shapes if shape.type == "rect"}
    assert edges == set(PRO_LIMITS)
    assert figure.layout.xaxis.range[1] > 0.3


def test_two_curves_lie_over_each_other_and_differ_by_more_than_colour(evaluated: EvaluationWorld) -> None:
    pair = [evaluated.stored(), evaluated.stored(evaluated.second)]
    limits = [findings(stored, stored.limits()[0]) for stored in pair]
    figure = curve_chart(pair, name="image_roc", findings=limits)
    lines = [trace for trace in figure.data if trace.mode == "lines" and trace.name != "Chance"]
    assert [trace.line.dash for trace in lines] == ["solid", "dash"]
    assert [trace.name.split(":")[0] for trace in lines] == ["first", "second"]
    assert sum(trace.mode == "markers" for trace in figure.data) == 2
    selected = replace(pair[0], summary=replace(pair[0].summary, test_selected=True), curves={})
    assert not [t for t in curve_chart([selected], name="pro").data if t.mode == "lines"]


def test_a_test_selected_curve_is_badged(stored: StoredEvaluation) -> None:
    selected = replace(stored, summary=replace(stored.summary, test_selected=True))
    assert "test-selected" in curve_chart([selected], name="image_pr").data[0].name
    assert "test-selected" not in curve_chart([stored], name="image_pr").data[0].name


def test_escape_bars_hold_the_images_that_pass(found: Findings) -> None:
    figure = escape_bars(found.by_type, axis="Type of defect")
    escapes = bar(figure, "Passed as OK (escape)")
    for group, x, places in zip(found.by_type, escapes.x, escapes.customdata, strict=True):
        assert x == pytest.approx(100 * group.rate)
        assert list(places) == [group.name, *group.escaped]
    low = [x - down for x, down in zip(escapes.x, escapes.error_x.arrayminus, strict=True)]
    assert low == pytest.approx([100 * group.interval.low for group in found.by_type])
    review = bar(figure, "For review")
    assert [list(each) for each in review.customdata] == [[g.name, *g.reviewed] for g in found.by_type]
    assert review.marker.pattern.shape
    sizes = escape_bars(found.by_size.groups, axis="Area")
    assert [text.split("<br>")[0] for text in sizes.data[0].y] == [group.name for group in found.by_size.groups]
    assert escape_bars([], axis="Type of defect").layout.height > 0


def test_every_confusion_cell_holds_its_images(found: Findings) -> None:
    figure = confusion_chart(found.confusion)
    cells = {trace.customdata[0][0]: trace for trace in figure.data}
    assert len(cells) == 6
    for cell in found.confusion:
        trace = cells[f"{cell.truth} {cell.verdict}"]
        assert list(trace.customdata[0][1:]) == list(cell.indices)
        assert f"<b>{cell.count}</b>" in trace.text[0]
        assert trace.x[0] == cell.verdict
    # the lower row of bars comes first in a stack
    assert [trace.customdata[0][0].split()[0] for trace in figure.data] == ["defect"] * 3 + ["good"] * 3
    escapes = next(cell.count for cell in found.confusion if (cell.truth, cell.verdict) == ("defect", "OK"))
    assert f"<b>{escapes}</b> escape{'' if escapes == 1 else 's'}<br>" in cells["defect OK"].text[0]


def test_a_forest_of_differences_shows_values_intervals_and_what_is_clear(evaluated: EvaluationWorld) -> None:
    comparison = compare(evaluated.stored(), evaluated.stored(evaluated.second))
    figure = difference_chart(comparison)
    marks = figure.data[0]
    shown = [(name, d) for name, d in comparison.differences.items() if d.difference is not None]
    assert list(marks.x) == [difference.difference for _, difference in shown]
    assert [list(each) for each in marks.customdata] == [[name, d.a, d.b] for name, d in shown]
    assert list(marks.marker.symbol) == ["circle" if d.is_clear else "circle-open" for _, d in shown]
    low, high = figure.layout.xaxis.range
    assert low < 0 < high
    assert all(low < d.interval.low and d.interval.high < high for _, d in shown)


def test_every_chart_has_a_json_form_and_takes_colours(
    evaluated: EvaluationWorld, stored: StoredEvaluation, found: Findings
) -> None:
    pink = ChartColours(ours="#ff00aa", ng="#ff00aa")
    comparison = compare(stored, evaluated.stored(evaluated.second))
    charts = [
        class_bars([stored.summary], metric="aupro", colours=pink),
        curve_chart([stored], name="pro", findings=[found], colours=pink),
        escape_bars(found.by_type, axis="x", colours=pink),
        confusion_chart(found.confusion, colours=pink),
        difference_chart(comparison, colours=pink),
    ]
    for figure in charts:
        assert "#ff00aa" in json.dumps(as_json(figure)["data"])
