"""Labelled images as a data set that models are measured and compared on.

Scores are those of the queue, maps those of the prediction store, masks those that people drew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import resize_mask
from skrd4ad.errors import DataError
from skrd4ad.inference.scoring import scoring_mask_digest
from skrd4ad.metrics.evaluation import Metrics, evaluate
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.regions import ignored_pixels
from skrd4ad.scratch import scratch_array
from skrd4ad.services.evaluation.key import digest_of
from skrd4ad.services.evaluation.result import EvaluatedImage, MeasuredImages, MeasuredModel, settings_of
from skrd4ad.services.improve.agreement import Labels, defect_type_of, image_figures
from skrd4ad.services.inspection.predictions import PredictionStore
from skrd4ad.services.labelling.files import checked_path, load_mask_file, stored_path
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.storage.labelled_images import LabelledImage
from skrd4ad.task import QUIET, Task
from skrd4ad.types import EvaluationSet, ImageSize, height_width, size_text

FORMAT = 1
"""Of everything that the figures of labelled images are computed by."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledEvaluation(MeasuredImages):
    """A model on labelled images. Those of its figures that need maps are computed when they are asked for."""

    judged: Labels
    """Good and defective images with a score, in the order of ``images``."""

    def limits(self) -> tuple[Calibration | None, str]:
        """The calibration that the model had when the labels were read."""
        calibration = self.judged.info.calibration
        return calibration, "" if calibration else "This model has no limits yet."

    def measured(self, task: Task) -> tuple[EvaluationSet, Metrics]:
        """Maps that are not kept yet are made."""
        data, _ = label_set(self.judged.info, self.judged.images, task=task)
        return data, task.beside(lambda: evaluate(data))

    def file_of(self, index: int) -> Path:
        """Path of an image that still is as it was labelled."""
        image = self.judged.images[index]
        return checked_path(image.file, digest=image.digest, name=image.name)

    def map_of(self, index: int) -> NDArray[np.float32]:
        """(H, W), 0 where the calibration ignores it."""
        image, store = self.judged.images[index], PredictionStore(self.judged.info)
        found = store.map_of(image.digest)
        if found is None:
            raise DataError(f"The map of {image.name} is not kept. Compare the models, and it is made.")
        plane = found.astype(np.float32)
        if (ignored := _ignored(store)) is not None:
            plane[ignored] = 0
        return plane

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """(H, W), also where the mask vanished at the size of the map."""
        return _mask_of(self.judged.images[index], self.summary.image_size)


def evaluation_of_labels(labels: Labels) -> LabelledEvaluation:
    """Labelled images, good and defective ones with a score, as what two models are compared on."""
    info, mask = labels.info, PredictionStore(labels.info).mask
    images = tuple(_evaluated(index, image) for index, image in enumerate(labels.images))
    lines = [f"{each.content}|{each.label}|{each.defect_type}|{each.mask_content or '-'}" for each in images]
    data_digest, surface = digest_of(lines)[:32], scoring_mask_digest(mask)
    rests_on = [str(FORMAT), info.digest, info.teacher_digest, str(info.model)]
    model = MeasuredModel(
        key=digest_of([*rests_on, surface, data_digest, *(repr(each.score) for each in images)])[:32],
        model_folder=info.folder,
        model_title=info.title,
        model_digest=info.digest,
        teacher_digest=info.teacher_digest,
        settings=settings_of(info),
        dataset=info.dataset,
        class_name=info.class_name,
        data_digest=data_digest,
        surface_digest=surface,
        test_selected=info.test_selected,
        image_size=info.model.image_size,
        calibration=None if info.calibration is None else info.calibration.version,
        ignores_pixels=mask.ignored is not None,
        min_area=mask.min_area,
        metrics=image_figures(labels.images),
    )
    return LabelledEvaluation(summary=model, images=images, judged=labels)


def label_set(
    info: ModelInfo, images: Sequence[LabelledImage], *, task: Task = QUIET
) -> tuple[EvaluationSet, tuple[str, ...]]:
    """Labelled images, good and defective ones, with maps and masks, and why some enter no figure of pixels.

    Maps that are not kept yet are made. A defect whose mask vanishes at the size of the maps counts as one without a
    mask: its pixels are not known.
    """
    store, size = PredictionStore(info), info.model.image_size
    missing = [image for image in images if not store.has_map(image.digest)]
    left_out = list(score_labelled(info, missing, task=task).values())
    shape = (len(images), *height_width(size))
    maps = scratch_array(shape, np.float32, what="The maps of the labelled images")
    masks = scratch_array(shape, np.bool_, what="The masks of the labelled images")
    has_mask = np.zeros(len(images), bool)
    for index, image in enumerate(images):
        task.check()
        found = store.map_of(image.digest)
        if found is None:  # the image cannot be read
            continue
        maps[index] = found
        try:
            mask = _mask_of(image, size)
        except DataError as error:
            left_out.append(str(error))
            continue
        if mask is not None and image.label == "defect" and not mask.any():
            left_out.append(
                f"Nothing is left of the mask of {image.name} at {size_text(size)} pixels, the size of the maps."
            )
        elif mask is not None:
            masks[index], has_mask[index] = mask, True
    data = EvaluationSet(
        labels=np.array([image.label == "defect" for image in images], np.int64),
        scores=np.array([np.nan if image.score is None else image.score for image in images], np.float32),
        defect_types=tuple(defect_type_of(image) for image in images),
        maps=maps,
        masks=masks,
        has_mask=has_mask,
        ignored=_ignored(store),
    )
    return data, tuple(left_out)


def _evaluated(index: int, image: LabelledImage) -> EvaluatedImage:
    assert image.score is not None, "only images with a score are compared"
    mask_file = image.mask_file if image.label == "defect" else None
    return EvaluatedImage(
        place=index,
        path=stored_path(image.file),
        name=image.name,
        label=int(image.label == "defect"),
        defect_type=defect_type_of(image),
        mask_path=None if mask_file is None else workspace() / mask_file,
        score=image.score,
        verdict_score=image.score,
        mask_area=None,  # masks are read when they are needed
        content=image.digest,
        mask_content=mask_file,  # named by its content
    )


def _mask_of(image: LabelledImage, size: ImageSize) -> NDArray[np.bool_] | None:
    if image.label == "good":
        return np.zeros(height_width(size), bool)
    return None if image.mask_file is None else resize_mask(load_mask_file(image.mask_file), size)


def _ignored(store: PredictionStore) -> NDArray[np.bool_] | None:
    ignored, size = store.mask.ignored, store.info.model.image_size
    if store.info.alignment is not None:  # they lie on each part where it is, which is not kept
        return None
    return None if ignored is None else ignored_pixels(ignored, *height_width(size))
