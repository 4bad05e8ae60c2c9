"""Jobs in words."""

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
    """A text inside of Markdown, as it is: its marks mean nothing."""
    return "".join(f"\\{mark}" if mark in r"\`*_{}[]()#+-.!|~$:<>" else mark for mark in text)
