"""The review queue: images a person should decide on, kept in the workspace with what the model said of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from skrd4ad.digests import content_digest
from skrd4ad.errors import ImageError
from skrd4ad.files import new_file
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import read_regular, workspace
from skrd4ad.storage import predictions
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import save_class_image
from skrd4ad.types import Verdict


@dataclass(frozen=True, kw_only=True)
class ReviewRequest:
    """An image for review, and what the model said of it."""

    name: str
    source: Path | bytes
    score: float
    verdict: Verdict | None
    threshold: float | None
    calibration: int | None
    refusal: str | None


@dataclass(frozen=True, kw_only=True)
class WaitingImage:
    """An image in the queue."""

    name: str
    path: Path
    score: float
    verdict: str | None
    threshold: float | None
    model_folder: Path


def send_to_review(info: ModelInfo, requests: Iterable[ReviewRequest]) -> int:
    """Keep images in the workspace and put them into the queue; returns how many were not in it before.

    Raises:
        ImageError: an image cannot be read any more; those before it are in the queue.
    """
    added = 0
    for request in requests:
        try:
            content = request.source if isinstance(request.source, bytes) else read_regular(request.source)
        except OSError as error:
            raise ImageError(
                f"{request.source!s} cannot be read any more: {error.strerror}. Choose the images again."
            ) from error
        kept, digest = keep_upload(content, name=request.name), content_digest(content)
        with workspace_database().write() as session:
            predictions.save_image(session, digest=digest, name=request.name, file=kept.relative_to(workspace()))
            save_class_image(session, digest=digest, dataset=info.dataset, class_name=info.class_name, origin="inspect")
            added += predictions.ask_for_review(
                session,
                image_digest=digest,
                model_digest=info.digest,
                model_folder=info.folder,
                score=request.score,
                verdict=request.verdict,
                threshold=request.threshold,
                calibration=request.calibration,
                refusal=request.refusal,
            )
    return added


def waiting_images() -> list[WaitingImage]:
    """The queue, the longest waiting first."""
    with workspace_database().read() as session:
        return [
            WaitingImage(
                name=image.name,
                path=workspace() / image.file,
                score=said.score,
                verdict=said.verdict,
                threshold=said.threshold,
                model_folder=Path(said.model_folder),
            )
            for image, said in predictions.waiting(session)
        ]


def keep_upload(content: bytes, *, name: str) -> Path:
    """Where an uploaded image is kept in the workspace, by its content; written when it is not there yet."""
    path = workspace() / "uploads" / f"{content_digest(content)}{PurePath(name).suffix.lower()}"
    if not path.is_file():
        with new_file(path) as temporary:
            temporary.write_bytes(content)
    return path
