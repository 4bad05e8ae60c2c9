"""Training that goes on from a trained student: its weights, and which images it may learn from and hold out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.errors import CheckpointError, ConfigError, DataError
from skrd4ad.model_folder.info import WEIGHTS, ModelInfo, read_info, require_own_weights
from skrd4ad.model_folder.seen_images import STARTED_FROM, record_of_images
from skrd4ad.types import Sample, size_text

if TYPE_CHECKING:
    from skrd4ad.models.skrd import Student


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Where a training goes on from. Nothing is drawn: what the student has learnt already must not be held out."""

    folder: Path
    learn: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    """Images that neither the trained student nor the new one learns from."""
    already: frozenset[str] = frozenset()
    """Contents of the images that the trained student has learnt, as far as they are known."""
    held_out_text: str = "held-out good images of training"
    """Which images are held out, for the record of the calibration."""
    note: str = ""

    def note_after(self, note: str) -> str:
        """The note of the data, and then that of the start."""
        if not note or not self.note:
            return note or self.note
        return f"{note.rstrip().rstrip('.')}. {self.note}"

    def split(self, config: TrainConfig) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """Images to learn from and to hold out."""
        if len(self.learn) < 2:
            raise DataError(
                f"There are {len(self.learn)} good images to learn from; going on from {self.folder.name} needs at "
                "least 2 (20 or more are advisable). Add good images."
            )
        if config.selection == "holdout" and not self.held_out:
            raise DataError(
                f"All good images are ones that {self.folder.name} has learnt from, so none can be held out to choose "
                "the epoch and the thresholds by. Give good images that it has not seen, or choose selection 'last' "
                "and calibrate afterwards."
            )
        return self.learn, self.held_out


def read_parent_model(folder: Path, student: "Student", *, model: ModelConfig, teacher_digest: str) -> ModelInfo:
    """Give the weights of a trained student to a new one of the same design; returns what is known of the former."""
    info = read_info(folder)
    if info.model != model:
        raise ConfigError(
            f"{folder} is made of {_design_text(info.model)}; the new model of {_design_text(model)}. A training goes "
            "on from a student of the same design only: give the same teacher, skip connections and image size, or "
            "train anew."
        )
    if info.teacher_digest != teacher_digest:
        raise CheckpointError(
            f"{folder} was trained with other weights of the teacher {model.net} (digest {info.teacher_digest}, given "
            f"{teacher_digest}); give the file it was trained with by --weights FILE."
        )
    require_own_weights(info)
    from skrd4ad.model_folder.network import split_tensors
    from skrd4ad.models.tensor_files import read_tensor_file

    weights = split_tensors(read_tensor_file(folder / WEIGHTS, error=CheckpointError))[0]
    try:
        student.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit its settings: {error}.") from error
    return info


def record_of_start(
    start: WarmStart, parent: ModelInfo, *, learnt: Sequence[Sample], contents: Mapping[Path, str]
) -> dict[str, Any]:
    """What the new model records of its start: its parent, and each image that the two learnt from or held out."""
    record = record_of_images(learnt, start.held_out, contents)
    return {
        STARTED_FROM: {"run": start.folder.name, "digest": parent.digest},
        **record,
        "learnt": sorted(({*record["learnt"]} | start.already) - {*record["held_out"]}),
    }


def _design_text(model: ModelConfig) -> str:
    return f"{model.net}, {model.skips} skip connections, {size_text(model.image_size)} pixels"
