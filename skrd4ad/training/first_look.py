"""The first look: what the memory bank alone says of a part, before the student has learnt anything."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skrd4ad.data.images.find_part import AlignedImage
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.inference.reference import Reference, save_reference
from skrd4ad.model_folder.calibration import calibrate, this_moment
from skrd4ad.model_folder.first_look import first_look_folder
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.network import save_model
from skrd4ad.models.normality import Normality
from skrd4ad.models.skrd import Student
from skrd4ad.task import QUIET, Task
from skrd4ad.training.loop import holdout_scores
from skrd4ad.training.normality import fit_first_look


def save_first_look(
    run: Path,
    info: ModelInfo,
    reference: Reference,
    *,
    student: Student,
    bank: Normality,
    learning: FeatureCache,
    holding: FeatureCache,
    aligned: Sequence[AlignedImage | None] = (),
    task: Task = QUIET,
) -> Path:
    """Write the model of the memory bank alone beside the folder of the full model; returns its folder.

    Its limits come from the same held-out images as those of the full model. The student is stored as it is now, and
    decides nothing.

    Args:
        run: folder of the full model.
        info: what is known of the full model already.
        bank: of the training images; see :func:`skrd4ad.training.normality.memory_bank`.
        learning, holding: the teacher's features of the images that are learnt from and held out.
        aligned: how the held-out ones were aligned; see :func:`skrd4ad.training.loop.holdout_scores`.
    """
    folder = first_look_folder(run)
    if folder.is_dir():
        # of the same training, which was interrupted and goes on
        return folder
    normality = fit_first_look(bank, learning, fusion=info.model.fusion, task=task)
    size = info.model.image_size
    scores = holdout_scores(student, holding, size=size, normality=normality, aligned=aligned, task=task)
    first = replace(
        info,
        first_look=True,
        created_at=this_moment(),
        calibration=calibrate(
            scores, data=f"{len(scores)} held-out good images, by the memory bank alone", who="training"
        ),
    )
    save_model(
        folder,
        info=first,
        student=student.state_dict(),
        normality=normality,
        more=lambda made: save_reference(made, reference),
    )
    return folder
