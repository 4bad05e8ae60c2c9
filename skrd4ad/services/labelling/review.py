"""The review queue: images a person should decide on, kept in the workspace with what the model said of them."""

from collections.abc import Iterable
from pathlib import Path, PurePath

from skrd4ad.digests import content_digest
from skrd4ad.errors import ImageError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import read_regular, workspace
from skrd4ad.services.access import needs
from skrd4ad.services.labelling.files import keep_content
from skrd4ad.storage import predictions
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import save_class_image
from skrd4ad.storage.labelled_images import PredictionRow, save_predictions
from skrd4ad.storage.tables import StoredImage, StoredPrediction


@needs("inspector", "send images to review")
def send_to_review(info: ModelInfo, images: Iterable[tuple[str, Path | bytes, PredictionRow]]) -> int:
    """Keep images, each with its name and what the model said of it, and put them into the queue.

    Returns how many were not in it before.

    Raises:
        ImageError: an image cannot be read any more; those before it are in the queue.
    """
    added = 0
    for name, source, said in images:
        try:
            content = source if isinstance(source, bytes) else read_regular(source)
        except OSError as error:
            problem = f"{source!s} cannot be read any more: {error.strerror}. Choose the images again."
            raise ImageError(problem) from error
        kept, digest = keep_upload(content, name=name), content_digest(content)
        with workspace_database().write() as session:
            predictions.save_image(session, digest=digest, name=name, file=kept.relative_to(workspace()))
            save_class_image(session, digest=digest, dataset=info.dataset, class_name=info.class_name, origin="inspect")
            save_predictions(session, {digest: said}, model_digest=info.digest, model_folder=info.folder)
            added += predictions.ask_for_review(session, [digest], model_digest=info.digest)
    return added


def waiting_images() -> list[tuple[StoredImage, StoredPrediction]]:
    """The queue, the longest waiting first, with what the model said of each image."""
    with workspace_database().read() as session:
        return predictions.waiting(session)


@needs("inspector", "keep an image")
def keep_upload(content: bytes, *, name: str) -> Path:
    """Where an uploaded image is kept in the workspace, by its content."""
    return keep_content(content, "uploads", PurePath(name).suffix.lower())
