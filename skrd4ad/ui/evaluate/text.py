"""What the Evaluate page says of figures and evaluations: how to read them, their intervals, names and badges."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import streamlit as st

from skrd4ad.format import format_figure, short_moment
from skrd4ad.metrics.bootstrap import Interval
from skrd4ad.services.evaluation.chart_parts import TEST_SELECTED
from skrd4ad.services.evaluation.result import EvaluationSummary
from skrd4ad.ui.text import plain

HOW_TO_READ = {
    "image_auroc": "Chance that a defective image scores higher than a good one: 1 ranks all of them right, 0.5 is "
    "guessing.",
    "image_ap": "Mean precision over all recalls, images ranked by score; it depends on the share of defective images.",
    "image_f1_max": "Best balance of precision and recall that one limit could reach; that limit is found on the test "
    "images themselves, so no calibration promises it.",
    "pixel_auroc": "Chance that a defective pixel scores higher than a good one; high even when small defects are "
    "missed, because most pixels are good.",
    "pixel_ap": "Mean precision over all recalls, pixels ranked by score; large defects count more than small ones.",
    "pixel_f1_max": "Best balance of precision and recall over pixels that one limit could reach, found on the test "
    "images themselves.",
    "aupro": "Share found of each defect region, averaged over regions and over false positive rates up to 0.30, exact "
    "over all test images: a small defect counts as much as a large one.",
    "aupro_005": "The same, but only up to a false positive rate of 0.05: stricter, and closer to how limits are set.",
    "aupro_paper": "AUPRO as the original code measures it: image by image, 200 thresholds, a rescaled axis. Only this "
    "one may be held against published figures.",
}
"""One sentence a figure, by the names of ``skrd4ad.metrics.bootstrap.METRIC_NAMES``."""

WHAT_IT_COUNTS = {
    "false_rejects": "Good test images that the model's limits reject.",
    "escapes": "Defective test images that the model's limits pass.",
    "for_review": "Test images between the two limits: a person decides.",
    "cannot_judge": "Test images unlike the training images: they get no verdict, whatever their score.",
}
"""One sentence a figure, by the names of ``skrd4ad.format.OUTCOME_TITLES``."""

HEADLINES = ("image_auroc", "pixel_auroc", "aupro", "aupro_005", "aupro_paper")

_BADGES: dict[str, tuple[Literal["orange", "gray"], str]] = {
    TEST_SELECTED: ("orange", ":material/warning:"),
    "synthetic": ("gray", ":material/draw:"),
    "demo": ("gray", ":material/play_circle:"),
}
"""Colour and icon of the words that qualify figures."""


def badges_of(summary: EvaluationSummary) -> dict[str, str]:
    """Words that qualify the figures of an evaluation, and what they mean."""
    found = {}
    if summary.test_selected:
        found[TEST_SELECTED] = "The epoch of this model was chosen on its test set: every figure is optimistic."
    if "synthetic" in summary.note.casefold():
        found["synthetic"] = f"Drawn images, not photographs: {summary.note}."
    if summary.model_folder.name == "demo":
        found["demo"] = "A small model that comes with the app; a model of your own is trained on the Train page."
    return found


def show_badges(summary: EvaluationSummary) -> None:
    """The badges of an evaluation; nothing when it has none."""
    for word, meaning in badges_of(summary).items():
        colour, icon = _BADGES[word]
        st.badge(plain(word), color=colour, icon=icon, help=plain(meaning))


def figure_text(value: float | None, interval: Interval | None = None) -> str:
    """``0.933 (0.905 to 0.955)``; – where a figure is undefined."""
    limits = "" if interval is None or value is None else f" ({interval.low:.3f} to {interval.high:.3f})"
    return f"{format_figure(value)}{limits}"


def images_text(summary: EvaluationSummary) -> str:
    """``146 good, 313 defective``."""
    return f"{summary.metrics.n_good} good, {summary.metrics.n_defect} defective"


def evaluation_labels(evaluations: Sequence[EvaluationSummary]) -> dict[str, str]:
    """Evaluations by their keys in as few words as tell them apart: class and run, then data set, time, key."""
    texts = []
    for each in evaluations:
        run = f"{each.class_name} · {each.model_folder.name}"
        in_set = f"{each.dataset}/{run}"
        texts.append((run, in_set, f"{in_set} · {short_moment(each.created_at, seconds=True)}"))
    counts = Counter(text for of_one in texts for text in of_one)
    return {
        each.key: next((text for text in of_one if counts[text] == 1), f"{of_one[-1]} · {each.key[:6]}")
        for each, of_one in zip(evaluations, texts, strict=True)
    }
