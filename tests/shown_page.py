"""What an AppTest shows."""

import re

from streamlit.testing.v1 import AppTest


def as_shown(markdown: str) -> str:
    """Markdown without what keeps its texts as they are."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown).replace("\u2060", "")


def fine(at: AppTest) -> AppTest:
    """The same page; it shows neither an error nor a traceback."""
    assert not at.exception and not at.error, (at.exception, [each.value for each in at.error])
    return at


def words(at: AppTest) -> str:
    """All sentences of the page, one a line."""
    shown = [*at.caption, *at.markdown, *at.info, *at.success, *at.warning, *at.error, *at.html, *at.text]
    return "\n".join(str(getattr(each, "value", "") or each.proto.body) for each in shown)
