import numpy as np
import pytest

from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.services.inspection.control_chart import trend
from skrd4ad.ui.inspect.control_chart import trend_chart, trend_text


@pytest.fixture(scope="module")
def drifting():
    calibration = calibrate(np.linspace(0.5, 1.0, 40), data="d", who="w")
    return trend([0.7, 0.75, None, *[0.97] * 30, 2.0], calibration)


@pytest.mark.parametrize("dark", [False, True])
def test_points_have_the_colour_and_shape_of_their_verdict(drifting, dark: bool) -> None:
    figure = trend_chart(drifting, dark=dark)
    marks = {trace.name: trace for trace in figure.data if trace.mode == "markers"}
    assert marks["OK"].marker.symbol == "circle" and marks["NG"].marker.symbol == "triangle-up"
    assert list(marks["NG"].x) == [34] and list(marks["NG"].y) == [2.0]
    assert list(marks["OK"].x[:3]) == [1, 2, 4]


def test_limits_and_the_span_of_the_alarm_are_drawn(drifting) -> None:
    figure = trend_chart(drifting, dark=False)
    levels = {shape.y0 for shape in figure.layout.shapes if shape.type == "line"}
    assert levels == {drifting.image_threshold}
    flat = {trace.y[0] for trace in figure.data if trace.mode == "lines" and len(set(trace.y)) == 1}
    assert flat == {drifting.drift_limit, drifting.centre}
    (alarm,) = drifting.alarms
    spans = [(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.yref == "y domain"]
    assert spans == [(alarm.start + 0.5, alarm.end + 1.5)]
    assert alarm.text in trend_text(drifting)


def test_an_empty_chart_still_has_its_limits() -> None:
    empty = trend([], calibrate(np.linspace(0.5, 1.0, 40), data="d", who="w"))
    assert len(trend_chart(empty, dark=True).layout.shapes) == 2
    assert trend_text(empty) == "Scores of parts in their order: no parts."
