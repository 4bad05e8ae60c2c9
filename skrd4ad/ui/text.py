"""Texts of the pages: jobs in words, and texts from anywhere so that they stay what they are.

What comes from anywhere (names, comments, error messages) goes through one of three doors before it is shown:
:func:`plain` where Streamlit reads Markdown, ``html.escape`` where it reads HTML, ``in_figure`` where Plotly does.
"""

import re

from skrd4ad.services.jobs.view import JobView

STATES = {
    "queued": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}


def progress_of(job: JobView) -> tuple[float, str]:
    """How far a job is, 0 to 1, and what it does now."""
    if job.state == "queued":
        return 0.0, "next in the queue" if job.position <= 1 else f"number {job.position} in the queue"
    share = min(max(float(job.progress.get("share") or 0.0), 0.0), 1.0)
    if job.wish == "cancel":
        return share, "stopping"
    if job.paused:
        return share, "paused"
    return share, str(job.progress.get("words") or "starting")


def plain(text: str) -> str:
    """A text inside of Markdown, as one line and as it is: its marks mean nothing.

    A backslash takes the meaning of a mark. What Streamlit finds in the finished text (addresses, e-mails, icons,
    arrows), whatever was escaped, is broken up by a character without width.
    """
    broken = _FOUND_LATER.sub(f"\\g<0>{_WORD_JOINER}", " ".join(text.split()))
    return _MARKS.sub(r"\\\g<0>", broken)


def plain_lines(text: str) -> str:
    """As :func:`plain`, with the breaks between the lines kept."""
    return "  \n".join(map(plain, text.splitlines()))


_WORD_JOINER = "\u2060"
_MARKS = re.compile(r"[\\`*_{}\[\]()#+\-.!|~$:<>&]")
_FOUND_LATER = re.compile(
    r":(?=//|[\w+-]*:|[a-z][\w+-]*$|material)|@(?=[\w-])|www(?=\.)|(?<!\S)[-<>~](?=[-=>]+(?!\S))", re.IGNORECASE
)
"""Where ``://``, ``:name:``, an e-mail, ``www.``, or an arrow such as ``->`` is broken up."""
