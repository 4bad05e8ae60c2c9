import pytest

from skrd4ad.format import format_apart, format_number, format_rate


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
