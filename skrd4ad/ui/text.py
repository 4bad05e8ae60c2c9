"""Jobs and times in words."""

from skrd4ad.format import fetching_weights
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
    """How far a job is, 0 to 1, and the same in words.

    A training tells its phase and epoch; any other kind tells ``share`` (0 to 1 of the whole) and ``words`` itself.
    """
    if job.state == "queued":
        return 0.0, "next in the queue" if job.position <= 1 else f"number {job.position} in the queue"
    at = job.progress
    done, total, epoch, epochs = (int(at.get(name) or 0) for name in ("done", "total", "epoch", "epochs"))
    share = done / total if total else 0.0
    phase = at.get("phase")
    told = at.get("words")
    of_training = (epoch + share) / epochs if epochs else 0.0
    overall = _within(float(at.get("share") or 0.0) if told else of_training)
    if job.wish == "cancel":
        return overall, "stopping"
    if job.paused:
        return overall, "paused"
    if told:
        return overall, str(told)
    if phase == "weights":
        return _within(share), fetching_weights(done, total)
    if phase == "reading":
        return _within(share), f"reading image {done} of {total}"
    if phase == "training":
        return overall, f"epoch {min(epoch + 1, epochs)} of {epochs}"
    if phase == "finishing":
        if at.get("step"):
            return 1.0, f"evaluating, {at['step']}"
        return 1.0, f"evaluating, {done} of {total} images" if done else "evaluating"
    return 0.0, "starting"


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)
