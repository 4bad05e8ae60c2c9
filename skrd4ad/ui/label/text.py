"""Decisions in words, shapes and colours."""

from collections.abc import Mapping
from dataclasses import dataclass

from skrd4ad.storage.annotations import Label
from skrd4ad.ui.theme import VERDICTS


@dataclass(frozen=True, kw_only=True)
class LabelLook:
    """A decision as a shape and a colour; its word or letter always stands beside them."""

    colour: str
    shape: str
    """A CSS ``clip-path``."""


LABEL_LOOKS: Mapping[Label, LabelLook] = {
    "good": LabelLook(colour=VERDICTS["OK"].colour, shape=VERDICTS["OK"].shape),
    "defect": LabelLook(colour=VERDICTS["NG"].colour, shape=VERDICTS["NG"].shape),
    "unsure": LabelLook(colour=VERDICTS["REVIEW"].colour, shape=VERDICTS["REVIEW"].shape),
}

LABEL_NAMES: Mapping[Label, str] = {"none": "open", "good": "good", "defect": "defect", "unsure": "unsure"}


def decision_words(label: Label, defect_type: str | None) -> str:
    """``good``, ``defect (scratch)``, ``open``."""
    return f"{LABEL_NAMES[label]} ({defect_type})" if defect_type else LABEL_NAMES[label]


def plain(text: str) -> str:
    """A text inside of Markdown, as it is: its marks mean nothing."""
    return "".join(f"\\{mark}" if mark in r"\`*_{}[]()#+-.!|~$:<>" else mark for mark in text)
