"""The history of an image in words: who decided what and when, a row of strokes as one line."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    first: int
    last: int
    """Revisions."""
    is_stroke: bool


def history_lines(history: Sequence[Revision]) -> list[HistoryLine]:
    """Lines of a history, newest first."""
    lines: list[HistoryLine] = []
    before: Revision | None = None
    for revision in history:
        line = _line(revision, before)
        joins = lines and line.is_stroke and lines[-1].is_stroke and lines[-1].who == line.who
        if joins:
            strokes = line.last - lines[-1].first + 1
            lines[-1] = HistoryLine(
                what=f"{strokes} strokes, {decision_text(revision.label, revision.defect_type)}",
                who=line.who,
                when=line.when,
                first=lines[-1].first,
                last=line.last,
                is_stroke=True,
            )
        else:
            lines.append(line)
        before = revision
    return lines[::-1]


def history_html(lines: Sequence[HistoryLine], zone: str | None, now: datetime | None = None) -> str:
    """The lines as HTML, for ``st.html``.

    Args:
        zone: time zone of the reader, such as ``Europe/Berlin``; UTC where it is not known.
        now: the present moment, which tells what today is.
    """
    rows = "".join(
        f'<div role="listitem"><span>{escape(line.what)}</span>'
        f"<small>{escape(line.who)}, {clock(line.when, zone, now)}</small></div>"
        for line in lines
    )
    return f'<div class="label-history" role="list">{rows}</div>'


def clock(moment: datetime, zone: str | None, now: datetime | None = None) -> str:
    """``10:42:07`` of today, ``12 May 10:42`` of another day, in the reader's time zone."""
    try:
        place = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        place = UTC
    local = moment.astimezone(place)
    today = (now or datetime.now(UTC)).astimezone(place).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%d %b %H:%M}".lstrip("0")


def _line(revision: Revision, before: Revision | None) -> HistoryLine:
    words = decision_text(revision.label, revision.defect_type)
    stroke = False
    if revision.undoes is not None:
        what = f"took back, so {words}"
    elif revision.mask_file != (before.mask_file if before else None) and revision.label in ("defect", "unsure"):
        what, stroke = f"1 stroke, {words}", True
    elif before is not None and revision.comment != before.comment and _decision(revision) == _decision(before):
        what = f"comment: {revision.comment}" if revision.comment else "removed the comment"
    else:
        what = words
    assert revision.made_at is not None  # it is stored
    return HistoryLine(
        what=what,
        who=revision.reviewer,
        when=revision.made_at,
        first=revision.number,
        last=revision.number,
        is_stroke=stroke,
    )


def _decision(revision: Revision) -> tuple[str, str | None]:
    return revision.label, revision.defect_type
