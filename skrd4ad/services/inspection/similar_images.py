"""The normal images that look most like an image, for a person to compare with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from skrd4ad.data.dataset import iter_images
from skrd4ad.data.images.model_input import model_input
from skrd4ad.digests import content_digest, image_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.files import new_file
from skrd4ad.inference.predict import Predictor
from skrd4ad.paths import workspace
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass, Sample, size_option

BATCH = 16
CACHE_FORMAT = 1
_EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class SimilarImage:
    """A training image that looks like another image."""

    path: Path
    distance: float
    """Cosine distance of the teacher's pooled coarsest features, 0..2; 0 for the same image."""


def similar_images(
    predictor: Predictor,
    image_or_embedding: NDArray[Any],
    data: DatasetClass,
    *,
    k: int = 3,
    task: Task = QUIET,
) -> tuple[SimilarImage, ...]:
    """The ``k`` good training images that are closest to an image in the teacher's features, closest first.

    The embeddings of the training images are computed once for a teacher, an image size and a content of the data, and
    kept in the workspace. All of them are compared; copies of one image count once.

    Args:
        image_or_embedding: (H, W, 3) uint8 RGB of any size, or (C,) as in :class:`skrd4ad.inference.predict.Maps`.
        task: told of the images done while embeddings are computed.
    """
    if k < 1:
        raise ConfigError(f"{k} neighbours were asked for; allowed: 1 or more.")
    if not data.train:
        raise DataError(f"The class {data.name} has no good training images to compare with; choose another data set.")
    # in the order of their contents, as in the file, so that names and order of the data do not matter
    samples = [sample for _, sample in sorted({image_digest(s.path): s for s in reversed(data.train)}.items())]
    known = _directions(_embeddings(predictor, samples, task=task))
    own = _directions(_embedding(predictor, image_or_embedding)[None])[0]
    if own.shape != known.shape[1:]:
        raise DataError(
            f"The embedding has {own.size} values; those of this model's teacher have {known.shape[1]}. Give one that "
            "this model has computed."
        )
    distances = np.maximum(0, 1 - known @ own)
    closest = np.argsort(distances, kind="stable")[:k]
    return tuple(SimilarImage(samples[index].path, float(distances[index])) for index in closest)


def _embedding(predictor: Predictor, image_or_embedding: NDArray[Any]) -> NDArray[np.floating]:
    if image_or_embedding.ndim == 1:
        return image_or_embedding
    pixels, _ = model_input(image_or_embedding, predictor.image_size, predictor.info.alignment)
    return _pooled(predictor, pixels[None])[0]


def _pooled(predictor: Predictor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeddings (B, C) of images (B, H, W, 3); the teacher alone is run."""
    teacher = predictor.model.teacher  # brings torch with it, which nobody needs before
    import torch

    from skrd4ad.inference.network import pooled, tensor_of

    with torch.inference_mode():
        return pooled(teacher(tensor_of(images))[-1])


def _embeddings(predictor: Predictor, samples: list[Sample], *, task: Task) -> NDArray[np.floating]:
    """(n, C) in the order of the samples, from the workspace or computed and kept there."""
    path = _cache_file(predictor, samples)
    kept = _read(path, n=len(samples))
    if kept is not None:
        return kept
    found: list[NDArray[np.float32]] = []
    info = predictor.info
    batches = iter_images(samples, predictor.image_size, batch=BATCH, levels=info.levels, alignment=info.alignment)
    for indices, images in batches:
        found.append(_pooled(predictor, images))
        task.report(indices.stop, len(samples))
    embeddings = np.concatenate(found)
    with new_file(path) as temporary:
        save_file({_EMBEDDINGS: embeddings}, temporary)
    return embeddings


def _cache_file(predictor: Predictor, samples: list[Sample]) -> Path:
    contents = "".join(image_digest(sample.path) for sample in samples)
    info = predictor.info
    parts = f"{CACHE_FORMAT}|{info.model.net}|{info.teacher_digest}|{size_option(predictor.image_size)}|{contents}"
    if info.levels is not None:
        parts += f"|{info.levels}"
    if info.alignment is not None:
        parts += f"|{info.alignment!r}"
    return workspace() / "cache" / "embeddings" / f"{content_digest(parts)}.safetensors"


def _read(path: Path, *, n: int) -> NDArray[np.floating] | None:
    """What is kept, or None where nothing of use is: a damaged file is computed again."""
    try:
        kept = load_file(path)[_EMBEDDINGS]
    except (OSError, SafetensorError, KeyError):
        return None
    return kept if kept.ndim == 2 and len(kept) == n and np.isfinite(kept).all() else None


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = embeddings.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12)
