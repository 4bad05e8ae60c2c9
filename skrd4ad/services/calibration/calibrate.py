"""Choosing the thresholds of a model: what the Calibrate page and ``skrd4ad calibrate`` do."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.format import format_number, format_rate, plural
from skrd4ad.inference.predictions import limits_of
from skrd4ad.metrics.consequences import Consequences, consequences
from skrd4ad.metrics.thresholds import conformal_threshold, false_reject_interval, smallest_certifiable
from skrd4ad.model_folder.calibration import Calibration, heat_top_above, this_moment
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.model_folder.folder import use_version as set_version
from skrd4ad.model_folder.info import ModelInfo, read_history
from skrd4ad.regions import ScoringMask
from skrd4ad.services.access import needs, signed
from skrd4ad.services.calibration.scores import Distributions, score_distributions
from skrd4ad.services.calibration.threshold_choice import METHODS, ThresholdChoice, thresholds_of
from skrd4ad.services.history import What, record
from skrd4ad.services.study.challenge import require_challenge
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposal:
    """A calibration that is not stored yet, and what it would do."""

    calibration: Calibration
    """Without a version, and without who answers for it: these come when it is stored."""
    consequences: Consequences
    interval: tuple[float, float] | None
    """95 % interval of the true false-reject rate, for the way "rate"."""
    promise: str
    warnings: tuple[str, ...]
    folder: Path
    new_mask: NDArray[np.bool_] | None
    """Ignored regions that are not yet in the model folder."""


def propose(found: Distributions, choice: ThresholdChoice) -> Proposal:
    """Thresholds chosen from scores, with their consequences."""
    reject, review, cost_warning = thresholds_of(found, choice)
    promised = conformal_threshold(found.normals, false_reject_rate=choice.rate) if choice.way == "rate" else None
    uses_labels = choice.way in ("f1", "balanced", "cost") or choice.review_escape_rate is not None
    uses_normals = choice.way == "rate" or choice.review_rate is not None
    # whoever sets a threshold by hand has seen all the scores
    by_hand = choice.way == "manual"
    test_fitted = (found.labelled_are_tests and (uses_labels or by_hand)) or (
        found.normals_are_tests and (uses_normals or by_hand)
    )
    good, in_sample = (found.good_scores, uses_labels) if found.good_scores else (found.normals, True)
    if not good:
        raise DataError(
            "There are no scores of good images to show what the thresholds do. Give good images the model has not "
            "learnt from."
        )
    effect = consequences(
        good, found.defect_scores, review=review, reject=reject, defect_rate=choice.defect_rate, costs=choice.costs
    )
    expected = effect.rates()
    if promised is not None:
        expected["false_reject_rate"] = promised.certified_rate
    calibration = Calibration(
        who="",
        method=METHODS[choice.way],
        data=_data_text(found, choice, uses_labels=uses_labels),
        n=len(found.labelled) if choice.way in ("f1", "balanced", "cost") else len(found.normals),
        image_threshold=reject,
        review_threshold=review,
        pixel_threshold=reject if review is None else review,
        heat_top=heat_top_above(reject, good_scores=found.normals or found.good_scores),
        min_area=found.mask.min_area,
        ignore=found.ignore,
        target_false_reject_rate=None if promised is None else promised.target,
        certified_false_reject_rate=None if promised is None else promised.certified_rate,
        expected=expected,
        test_fitted=test_fitted,
        scores=found.normals,
    )
    interval = None if promised is None else false_reject_interval(promised.n, promised.rank)
    drawn = found.mask.ignored is not None and bool(found.mask.ignored.any()) and found.ignore is None
    return Proposal(
        calibration=calibration,
        consequences=effect,
        interval=interval,
        promise=_promise(calibration, interval),
        warnings=(*_warnings(found, choice, calibration, in_sample=in_sample), *cost_warning, *found.warnings),
        folder=found.info.folder,
        new_mask=found.mask.ignored if drawn else None,
    )


@needs("engineer", "calibrate a model")
def save(proposal: Proposal, *, who: str, note: str = "", override: str = "") -> ModelInfo:
    """Store a proposal as the newest version of its model's calibration, and use it; ``who`` answers for it.

    ``override``: the reason to use it though challenge parts fail.

    Raises:
        ChallengeError: they fail, and there is no reason.
    """
    who = signed(who).strip()
    if not who:
        raise ConfigError("Nobody is named; a calibration is stored with the name of who answers for it.")
    # the moment it is signed, not that of the proposal
    version = replace(proposal.calibration, who=who, note=note.strip(), created_at=this_moment())
    info = replace(read_info(proposal.folder), calibration=version)
    limits = limits_of(info)
    assert limits is not None
    if proposal.new_mask is not None:
        limits = replace(limits, mask=replace(limits.mask, ignored=proposal.new_mask))
    require_challenge(info, limits, override=override)
    saved = save_calibration(proposal.folder, version, ignore_mask=proposal.new_mask)
    assert saved.calibration is not None
    _record("calibrated" if saved.calibration.version == 1 else "recalibrated", saved, who=who)
    return saved


@needs("engineer", "choose the limits of a model")
def use_version(folder: Path, version: int, *, override: str = "") -> ModelInfo:
    """Make an earlier version of a model's calibration the current one; ``override`` as for :func:`save`."""
    history = read_history(folder)
    if history is not None:
        earlier = replace(read_info(folder), calibration=history.of_version(version))
        require_challenge(earlier, limits_of(earlier), override=override)
    info = set_version(folder, version)
    _record("calibration chosen", info)
    return info


def recalibrate(
    folder: Path,
    images: Iterable[Path],
    *,
    who: str,
    rate: float = 0.01,
    review_rate: float | None = None,
    note: str = "",
    data: DatasetClass | None = None,
    weights: Path | None = None,
    task: Task = QUIET,
) -> ModelInfo:
    """Thresholds for a false-reject rate from new good images; the model itself stays as it is.

    The smallest region and the ignored regions stay as well. ``review_rate`` is the share of good parts that may be
    reviewed or rejected. ``data``, the class the model was trained on, serves to leave out images it has learnt from.
    """
    given = list(images)
    if not given:
        raise DataError("There are no new good images; give some that the model has not learnt from.")
    choice = ThresholdChoice(way="rate", rate=rate, review_rate=review_rate)
    unlabelled = None if data is None else replace(data, samples=())
    found = score_distributions(folder, data, labelled=unlabelled, normals=given, weights=weights, task=task)
    return save(propose(found, choice), who=who, note=note)


def scoring_mask_with(
    current: ScoringMask, *, min_area: int | None = None, mask: NDArray[np.bool_] | None = None
) -> ScoringMask:
    """A scoring mask with another smallest region (pixels of the map) or other ignored regions; None leaves each.

    ``mask`` is (H, W) of any size, true where ignored; all false ignores nothing.
    """
    if min_area is not None and min_area < 1:
        raise ConfigError(f"The smallest region is {min_area} pixels; allowed: 1 or more.")
    if mask is not None and mask.all():
        raise ConfigError("The mask ignores the whole image; leave something to look at.")
    ignored = current.ignored if mask is None else mask if mask.any() else None
    return ScoringMask(min_area=current.min_area if min_area is None else min_area, ignored=ignored)


def _record(what: What, info: ModelInfo, *, who: str = "") -> None:
    calibration = info.calibration
    assert calibration is not None
    values = asdict(calibration)
    del values["scores"]  # hundreds of numbers, which stay in the model folder
    record(what, info, who=who, details={"version": calibration.version, "calibration": values})


def _data_text(found: Distributions, choice: ThresholdChoice, *, uses_labels: bool) -> str:
    labels = found.labelled_data + (", test images among them" if found.labelled_are_tests else "")
    if choice.way == "manual":
        shown = [found.normals_data] if found.normals else []
        shown += [labels] if found.labelled else []
        return f"by hand, shown: {' and '.join(shown)}"
    if choice.way == "rate":
        return f"{found.normals_data}; review threshold: {labels}" if uses_labels else found.normals_data
    return f"{labels}; review threshold: {found.normals_data}" if choice.review_rate is not None else labels


def _promise(calibration: Calibration, interval: tuple[float, float] | None) -> str:
    if calibration.certified_false_reject_rate is None or interval is None:
        return (
            "Nothing is promised of new parts: the thresholds were not taken from a false-reject rate of held-out "
            "good images."
        )
    low, high = interval
    return (
        f"Of new good parts like these {calibration.n}, at most {format_rate(calibration.certified_false_reject_rate)} "
        f"are rejected, averaged over draws of {calibration.n} images. For this one draw the true rate lies between "
        f"{format_rate(low)} and {format_rate(high)} with 95 % confidence."
    )


def _warnings(found: Distributions, choice: ThresholdChoice, calibration: Calibration, *, in_sample: bool) -> list[str]:
    warnings = []
    n = len(found.normals)
    if choice.way == "rate" and choice.rate < (smallest := smallest_certifiable(n)):
        warnings.append(
            f"{plural(n, 'held-out good image')} cannot certify a false-reject rate below {format_rate(smallest)}: the "
            f"threshold is the highest score among them, {format_number(calibration.image_threshold)}."
        )
    if calibration.test_fitted:
        warnings.append(
            "Test-fitted: test images had a part in the choice, so every figure on these test images is optimistic."
        )
    if in_sample and choice.way != "manual":
        warnings.append(
            "The figures per 1000 parts are counted on images that the thresholds were taken from; new parts do worse."
        )
    if not found.defect_scores:
        warnings.append("No defect is known, so nothing is known of escapes.")
    return warnings
