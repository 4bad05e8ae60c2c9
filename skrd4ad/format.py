"""Numbers as people read them: three significant figures."""

import math

FIGURES = 3
MOST_FIGURES = 9


def format_number(value: float, *, figures: int = FIGURES) -> str:
    """A number with three significant figures: ``0.82`` reads "0.820", ``1234`` reads "1230", ``3e-9`` "3.00e-09"."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{figures - 1}e}".partition("e")
    places = figures - 1 - int(exponent)
    if places > figures + 5:
        return f"{mantissa}e{exponent}"
    return f"{float(f'{mantissa}e{exponent}'):.{max(places, 0)}f}"


def format_apart(*values: float) -> tuple[str, ...]:
    """Numbers with three significant figures, or as many more as tell different ones apart.

    A score of 0.9504 against a limit of 0.9496 would otherwise read "0.950" twice.
    """
    different = len(set(values))
    for figures in range(FIGURES, MOST_FIGURES):
        texts = tuple(format_number(value, figures=figures) for value in values)
        if len(set(texts)) == different:
            return texts
    return tuple(format_number(value, figures=MOST_FIGURES) for value in values)


def format_rate(rate: float) -> str:
    """A share as a percentage with three significant figures: ``0.0455`` reads "4.55 %"."""
    return f"{format_number(100 * rate)} %"
