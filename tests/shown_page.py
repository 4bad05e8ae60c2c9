"""What an AppTest shows."""

import re
from typing import Any

from streamlit.testing.v1 import AppTest

from skrd4ad.ui.components.envelope import unpack


def as_shown(markdown: str) -> str:
    """Markdown without what keeps its texts as they are."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown).replace("\u2060", "")


def fine(at: AppTest) -> AppTest:
    """The same page; it shows neither an error nor a traceback."""
    assert not at.exception and not at.error, (at.exception, [each.value for each in at.error])
    return at


def component(at: AppTest, name: str) -> dict[str, Any]:
    """What the browser gets of the first component of a name, without its blobs."""
    sent = (each.proto for each in at.get("bidi_component"))
    return unpack(next(each.bytes for each in sent if each.component_name == f"skrd4ad_{name}"))[0]


def words(at: AppTest) -> str:
    """All sentences of the page, one a line."""
    shown = [*at.caption, *at.markdown, *at.info, *at.success, *at.warning, *at.error, *at.html, *at.text]
    return "\n".join(str(getattr(each, "value", "") or each.proto.body) for each in shown)
