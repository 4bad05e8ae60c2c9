"""The history of an image in words: who decided what and when, a row of strokes as one line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from skrd4ad.storage.annotations import Revision
from skrd4ad.ui.theme import decision_text


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """One line of a history: a decision, or strokes in a row by one person."""

    what: str
    who: str
    when: datetime
    """Of the last one."""
    strokes: int = 0
    """How many it stands for; 0 for a decision."""


def history_lines(history: Sequence[Revision]) -> list[HistoryLine]:
    """Lines of a history, newest first."""
    lines: list[HistoryLine] = []
    before: Revision | None = None
    for revision in history:
        line = _line(revision, before)
        if lines and line.strokes and lines[-1].strokes and lines[-1].who == line.who:
            strokes = lines.pop().strokes + 1
            what = f"{strokes} strokes, {decision_text(revision.label, revision.defect_type)}"
            line = replace(line, what=what, strokes=strokes)
        lines.append(line)
        before = revision
    return lines[::-1]


def history_html(lines: Sequence[HistoryLine], zone: str | None, now: datetime | None = None) -> str:
    """The lines as HTML, for ``st.html``; ``zone`` and ``now`` as in :func:`clock`."""
    rows = "".join(
        f'<div role="listitem"><span>{escape(line.what)}</span>'
        f"<small>{escape(line.who)}, {clock(line.when, zone, now)}</small></div>"
        for line in lines
    )
    return f'<div class="label-history" role="list">{rows}</div>'


def clock(moment: datetime, zone: str | None, now: datetime | None = None) -> str:
    """``10:42:07`` of today, ``12 May 10:42`` of another day, in the reader's time zone, such as ``Europe/Berlin``.

    It is UTC where the zone is not known.
    """
    try:
        timezone = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        timezone = UTC
    local = moment.astimezone(timezone)
    today = (now or datetime.now(UTC)).astimezone(timezone).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%d %b %H:%M}".lstrip("0")


def _line(revision: Revision, before: Revision | None) -> HistoryLine:
    decision = decision_text(revision.label, revision.defect_type)
    same = before is not None and (revision.label, revision.defect_type) == (before.label, before.defect_type)
    what, strokes = decision, 0
    if revision.undoes is not None:
        what = f"took back, so {decision}"
    elif revision.mask_file != (before.mask_file if before else None) and revision.label in ("defect", "unsure"):
        what, strokes = f"1 stroke, {decision}", 1
    elif before is not None and revision.comment != before.comment and same:
        what = f"comment: {revision.comment}" if revision.comment else "removed the comment"
    assert revision.made_at is not None  # it is stored
    return HistoryLine(what=what, who=revision.reviewer, when=revision.made_at, strokes=strokes)
