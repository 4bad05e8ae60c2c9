"""What the Models page says of a model: its marks, its facts in tables, and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import streamlit as st

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import is_embedded
from skrd4ad.services.models.library import LibraryModel
from skrd4ad.ui.text import plain

_SHIPPED_RUN = "demo"
"""Name of the run folder of models that come with the program; every training names its own by the time."""


@dataclass(frozen=True)
class Mark:
    """A word on a model, and what it means."""

    word: str
    meaning: str
    colour: Literal["gray", "orange"]
    icon: str

    @property
    def markdown(self) -> str:
        """The mark inside of a caption."""
        return f":{self.colour}-badge[{self.icon} {plain(self.word)}]"


def is_shipped(info: ModelInfo) -> bool:
    """Whether a model came with the program."""
    return info.folder.name == _SHIPPED_RUN and is_embedded(str(info.data.get("source", "")))


def marks_of(model: LibraryModel) -> list[Mark]:
    """What a reader must know of a model before its figures."""
    info, about = model.info, model.about
    origin = f"It came in a bundle: {about.imported}." if about.imported else f"It was {info.origin}."
    first = "The memory bank alone decides; the student had not learnt yet. The full model takes its place."
    optimistic = "Its epoch was chosen on the test set: every figure is optimistic."
    kept = "It is kept, but not offered where a model is chosen."
    marks = (
        (is_shipped(info), Mark("demo", "It came with the program.", "gray", ":material/star:")),
        (about.imported or info.train is None, Mark("imported", origin, "gray", ":material/download:")),
        (info.first_look, Mark("first look", first, "orange", ":material/bolt:")),
        (info.test_selected, Mark("test-selected", optimistic, "orange", ":material/warning:")),
        (about.archived, Mark("archived", kept, "gray", ":material/inventory_2:")),
    )
    return [mark for holds, mark in marks if holds]


def show_facts(rows: Sequence[tuple[str, ...]], head: Sequence[str] = ()) -> None:
    """Draw a table whose first column names what the others say; the texts may come from anywhere."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(value)}</td>" for value in values)}</tr>'
        for name, *values in rows
    ]
    above = f"<thead><tr>{top}</tr></thead>" if head else ""
    st.html(f'<table class="facts">{above}<tbody>{"".join(lines)}</tbody></table>')


def interval_text(limits: object) -> str:
    """``0.905 to 0.955``, kept on one line; a dash where there is no interval, or something else in its place."""
    if isinstance(limits, list) and len(limits) == 2 and all(isinstance(each, float) for each in limits):
        return f"{limits[0]:.3f} to {limits[1]:.3f}".replace(" ", "\N{NO-BREAK SPACE}")
    return "–"


def image_auroc(info: ModelInfo) -> float | None:
    """Image AUROC of the last evaluation; None without one."""
    value = (info.metrics or {}).get("image_auroc")
    return None if value is None else float(value)
