import pytest

from skrd4ad.format import (
    METRIC_TITLES,
    day,
    fetching_weights,
    format_apart,
    format_figure,
    format_number,
    format_rate,
    format_size,
    metric_name,
    minute,
    plural,
    short_moment,
)
from skrd4ad.metrics.bootstrap import METRIC_NAMES


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((1.39, 1.0925), ("1.39", "1.09")),
        ((1.0931, 1.0924), ("1.093", "1.092")),
        ((0.95041, 0.95, 1.09), ("0.9504", "0.9500", "1.090")),
        ((0.5, 0.5), ("0.500", "0.500")),
        ((1.0, 1.0 + 1e-14), ("1.00000000", "1.00000000")),
    ],
)
def test_numbers_that_differ_read_differently(values: tuple[float, ...], texts: tuple[str, ...]) -> None:
    assert format_apart(*values) == texts


def test_more_figures_and_rates() -> None:
    assert format_number(0.123456, figures=5) == "0.12346"
    assert format_rate(1 / 22) == "4.55 %"
    assert format_rate(0.01) == "1.00 %"


@pytest.mark.parametrize(("count", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1200, "1200 images")])
def test_a_count_has_its_noun(count: int, words: str) -> None:
    assert plural(count, "image") == words
    assert plural(1200, "image", grouped=True) == "1,200 images"


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (4_612_345, "4.61 MB"), (20 * 10**9, "20.0 GB")],
)
def test_a_size_is_in_powers_of_ten(size: int, words: str) -> None:
    assert format_size(size) == words


def test_the_weights_that_are_fetched_are_in_the_same_megabytes() -> None:
    assert fetching_weights(1_400_000, 20_000_000) == "fetching the teacher's weights, 1 of 20 MB"


def test_a_figure_and_a_metrics_name() -> None:
    assert (format_figure(0.93251), format_figure(1.0), format_figure(None)) == ("0.933", "1.000", "–")
    assert metric_name("image_auroc") == "image AUROC"
    assert metric_name("pixel_ap") == "pixel AP"
    assert metric_name("aupro") == "AUPRO (FPR to 0.30)"
    assert set(METRIC_TITLES) == set(METRIC_NAMES)


def test_moments() -> None:
    assert minute("2026-11-23T14:05:33+00:00") == "2026-11-23 14:05 UTC"
    assert minute("2026-11-23T14:05:33-03:30") == "2026-11-23 14:05 UTC-03:30"
    assert minute("yesterday") == day("yesterday") == "yesterday"
    assert day("2026-11-23T14:05:33+00:00") == "23\N{NO-BREAK SPACE}Nov\N{NO-BREAK SPACE}2026"
    assert short_moment("2026-11-23T14:05:33+00:00") == "23 Nov 14:05"
    assert short_moment("2026-11-23T14:05:33+00:00", seconds=True) == "23 Nov 14:05:33"
