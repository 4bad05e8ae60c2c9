"""Numbers, sizes, moments, counts and the names of metrics as people read them."""

import math
from datetime import UTC, datetime

FIGURES = 3
MOST_FIGURES = 9
MISSING = "–"
SCHEMA = 1
"""Version of the schema of the JSON documents for programs, which ``skrd4ad schema`` prints; another number where a
value is changed or taken away."""
METRIC_TITLES = {
    "image_auroc": "Image AUROC",
    "image_ap": "Image AP",
    "image_f1_max": "Image F1-max",
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "pixel_f1_max": "Pixel F1-max",
    "aupro": "AUPRO (FPR to 0.30)",
    "aupro_005": "AUPRO (FPR to 0.05)",
    "aupro_paper": "AUPRO (paper protocol)",
}
"""Metrics by their names in documents, in the order in which they are shown."""
OUTCOME_TITLES = {
    "false_rejects": "False rejects",
    "escapes": "Escapes",
    "for_review": "For review",
    "cannot_judge": "Cannot judge",
}
"""What limits do to the images of an evaluation, by the names in documents."""


def format_number(value: float, *, figures: int = FIGURES) -> str:
    """A number with three significant figures: ``0.82`` reads "0.820", ``1234`` reads "1230", ``3e-9`` "3.00e-09"."""
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{figures - 1}e}".partition("e")
    places = figures - 1 - int(exponent)
    if places > figures + 5:
        return f"{mantissa}e{exponent}"
    return f"{float(f'{mantissa}e{exponent}'):.{max(places, 0)}f}"


def format_apart(*values: float) -> tuple[str, ...]:
    """Numbers with three significant figures, or as many more as tell different ones apart. A score of 0.9504 against a
    limit of 0.9496 would otherwise read "0.950" twice."""
    different = len(set(values))
    for figures in range(FIGURES, MOST_FIGURES):
        texts = tuple(format_number(value, figures=figures) for value in values)
        if len(set(texts)) == different:
            return texts
    return tuple(format_number(value, figures=MOST_FIGURES) for value in values)


def format_rate(rate: float) -> str:
    """A share as a percentage with three significant figures: ``0.0455`` reads "4.55 %"."""
    return f"{format_number(100 * rate)} %"


def format_figure(value: float | None) -> str:
    """A metric from 0 to 1: ``0.933``; a dash where it is undefined."""
    return MISSING if value is None else f"{value:.3f}"


def metric_name(metric: str) -> str:
    """The title of a metric inside of a sentence: ``image AUROC``."""
    title = METRIC_TITLES[metric]
    return title if title.startswith("AUPRO") else title[0].lower() + title[1:]


def share_text(share: float | None, low: float, high: float) -> str:
    """``1.37 %, 0.2 to 4.9``: a share with its interval, each 0 to 1, in percent; a dash where there is none."""
    return MISSING if share is None else f"{format_rate(share)}, {100 * low:.1f} to {100 * high:.1f}"


def plural(count: int, noun: str, *, grouped: bool = False) -> str:
    """``1 image``, ``1200 images``, or ``1,200 images`` in groups of thousands."""
    return f"{count:{',' if grouped else ''}} {noun}{'' if count == 1 else 's'}"


def format_size(size: int) -> str:
    """Bytes as ``412 kB`` or ``4.61 MB``, in powers of ten as file managers count."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{format_number(size / scale)} {unit}"
    return f"{size} bytes"


def fetching_weights(done: int, total: int) -> str:
    """How far the download of a teacher's weights is; both in bytes."""
    return f"fetching the teacher's weights, {done / 10**6:.0f} of {total / 10**6:.0f} MB"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(moment: datetime) -> str:
    """``just now``, ``5 min ago``, ``3 h ago``, ``2 days ago``."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    return f"{plural(int(seconds // 86400), 'day')} ago"


def day(moment: str) -> str:
    """``23 Nov 2026`` of a moment as it is stored, kept on one line; the text itself where it is no moment."""
    try:
        return f"{datetime.fromisoformat(moment):%d %b %Y}".replace(" ", "\N{NO-BREAK SPACE}")
    except ValueError:
        return moment


def minute(moment: str | datetime) -> str:
    """``2026-03-01 14:05 UTC``, or with the offset of another time zone; a text that is no moment stays as it is."""
    try:
        when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return str(moment)
    zone = when.strftime("%z")
    return f"{when:%Y-%m-%d %H:%M} {'UTC' if zone in ('', '+0000') else f'UTC{zone[:3]}:{zone[3:]}'}"


def short_moment(moment: str, *, seconds: bool = False) -> str:
    """``23 Nov 14:05`` of a moment as it is stored."""
    return datetime.fromisoformat(moment).strftime("%d %b %H:%M:%S" if seconds else "%d %b %H:%M")
