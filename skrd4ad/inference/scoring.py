"""Which pixels of a model's maps count, as its calibration says."""

import numpy as np

from skrd4ad.data.images.read import read_mask
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, ImageError
from skrd4ad.model_folder.info import ModelInfo, read_history
from skrd4ad.regions import ScoringMask


def scoring_mask_of(info: ModelInfo) -> ScoringMask:
    """Which pixels count under the current calibration of a model; all of them when it has none."""
    calibration = info.calibration
    if calibration is None:
        return ScoringMask()
    if calibration.ignore is None:
        return ScoringMask(min_area=calibration.min_area)
    try:
        mask = read_mask(info.folder / calibration.ignore)
    except ImageError as error:
        raise CheckpointError(
            f"The mask of ignored regions cannot be read: {error} Restore it, or calibrate the model again."
        ) from error
    return ScoringMask(min_area=calibration.min_area, ignored=mask)


def scoring_mask_digest(mask: ScoringMask) -> str:
    """The same text for masks under which every map has the same score."""
    if mask.ignored is None or not mask.ignored.any():
        return f"{mask.min_area}"
    bits = np.packbits(mask.ignored).tobytes()
    return f"{mask.min_area}|{mask.ignored.shape}|{content_digest(bits)}"


def comparable_versions(info: ModelInfo) -> tuple[int | None, ...]:
    """Versions of a model's calibration under which a score counts the same pixels as under the current one. A limit by
    hand has no version, here None: its scores hold when no version ever left pixels or small regions out."""
    history = read_history(info.folder)
    if history is None:
        return (None,)
    counted = {each.version: (each.min_area, each.ignore) for each in history.versions}
    same = tuple(version for version, what in counted.items() if what == counted[history.current_version])
    return (None, *same) if set(counted.values()) == {(1, None)} else same
