"""Components that run in the browser: their files, and which of Python and the user set a value last."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import streamlit as st

T = TypeVar("T")


def load_component(folder: Path, *scripts: str) -> Callable[..., Any]:
    """The component whose HTML, CSS and JavaScript files are named as their folder.

    Streamlit loads one module: ``scripts``, relative to the folder, come before the component's own.
    """
    name = folder.name
    texts = [(folder / file).read_text(encoding="utf-8") for file in (*scripts, f"{name}.js")]
    return st.components.v2.component(
        f"skrd4ad_{name}",
        html=(folder / f"{name}.html").read_text(encoding="utf-8"),
        css=(folder / f"{name}.css").read_text(encoding="utf-8"),
        js="\n".join(texts),
    )


@dataclass(frozen=True, kw_only=True)
class SharedValue(Generic[T]):
    """A value that Python and the user set in turn; the browser follows Python only when the turn changes."""

    sent: T
    """What Python set last."""
    turn: int
    """How often Python has set it."""
    choice: tuple[T, int] | None
    """What the user chose, and the turn it was chosen in."""

    @property
    def chosen(self) -> T | None:
        """The user's choice, unless Python has set another value since."""
        return self.choice[0] if self.choice and self.choice[1] == self.turn else None

    @property
    def shown(self) -> T:
        """What the browser shows."""
        return self.sent if self.chosen is None else self.chosen

    def follow(self, asked: T, choice: tuple[T, int] | None) -> "SharedValue[T]":
        """The state of the next run, in which a page asks for a value; None leaves it to the user."""
        if choice is None and self.choice is not None:  # the component left the page and came back
            return SharedValue(sent=asked, turn=self.turn + 1, choice=None)
        # A page learns of a choice from the component's answer: what it asks for in the same run is older.
        if choice != self.choice or asked is None or asked == self.shown:
            return replace(self, choice=choice)
        return SharedValue(sent=asked, turn=self.turn + 1, choice=choice)
