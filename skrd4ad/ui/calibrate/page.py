"""The work on the Calibrate page: images, a way to choose, the board with the limits, and the signature."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask
from skrd4ad.services.calibration.calibrate import (
    Distributions,
    Proposal,
    ThresholdChoice,
    propose,
    score_distributions,
)
from skrd4ad.types import GOOD
from skrd4ad.ui.calibrate.choice import pick_choice, unit
from skrd4ad.ui.calibrate.sources import Images, pick_images, typical_image
from skrd4ad.ui.calibrate.surface import applied_surface, pick_surface
from skrd4ad.ui.calibrate.versions import save_form
from skrd4ad.ui.components.calibration_board import BoardState, ScoreGroup, calibration_board
from skrd4ad.ui.progress_bar import progress_bar

_MOVED, _FOUND = "calibrate-moved", "calibrate-found"
KEPT = 8


@dataclass(frozen=True)
class _Moved:
    """Limits that the user moved, and from where."""

    model: str
    start: BoardState
    limits: BoardState


def show_calibration(info: ModelInfo) -> None:
    """Everything of the page but the history.

    Raises:
        SkrdError: the images, the settings or the model folder cannot be used.
    """
    images = pick_images(info)
    if images is None:
        st.info("Choose the images above to see their scores.")
        return
    surface = applied_surface(info)
    found = _distributions(info, images, surface)
    choice = pick_choice(found, info.calibration)
    if choice is None:
        _notes(found.warnings)
    else:
        proposal = _on_board(info, found, choice)
        _notes(proposal.warnings)
    pick_surface(info, typical_image(images))
    if choice is not None:
        save_form(info, proposal)


def _notes(warnings: Sequence[str]) -> None:
    if warnings:
        st.caption("  \n".join(f":material/info: {warning}" for warning in warnings))


def _on_board(info: ModelInfo, found: Distributions, choice: ThresholdChoice) -> Proposal:
    """The board, and the proposal for the limits as they stand on it."""
    proposal = propose(found, choice)
    start = _limits_of(proposal)
    moved: _Moved | None = st.session_state.get(_MOVED)
    if moved is not None and (moved.model, moved.start) != (info.digest, start):
        moved = None
    answer = calibration_board(
        groups_of(found),
        proposal=start,
        limits=start if moved is None else moved.limits,
        defect_rate=choice.defect_rate,
        costs=choice.costs,
        unit=unit(),
        key="calibrate-board",
    )
    if answer is not None:
        moved = None if answer == start else _Moved(info.digest, start, answer)
    st.session_state[_MOVED] = moved
    if moved is None:
        return proposal
    review, reject = moved.limits.review, moved.limits.reject
    by_hand = ThresholdChoice(
        way="manual",
        threshold=reject,
        review_threshold=None if review == reject else review,
        costs=choice.costs,
        defect_rate=choice.defect_rate,
    )
    return propose(found, by_hand)


def groups_of(found: Distributions) -> list[ScoreGroup]:
    """Scores as the board draws them: normals, labelled good parts, and each type of defect."""
    groups = []
    if found.normals:
        new = "given" in found.normals_data
        name = "New normals" if new else "Held-out normals"
        groups.append(ScoreGroup(name=name, kind="new" if new else "held-out", scores=found.normals))
    if found.good_scores:
        groups.append(ScoreGroup(name="Labelled good parts", kind="labelled", scores=found.good_scores))
    for defect in sorted({image.defect_type for image in found.labelled} - {GOOD}):
        scores = tuple(image.score for image in found.labelled if image.defect_type == defect)
        groups.append(ScoreGroup(name=defect, kind="defect", scores=scores))
    return groups


def _limits_of(proposal: Proposal) -> BoardState:
    return BoardState(
        review=proposal.calibration.review_threshold,
        reject=proposal.calibration.image_threshold,
    )


def _distributions(info: ModelInfo, images: Images, surface: ScoringMask) -> Distributions:
    """Scores of the images; kept, so that a moved limit reads no file."""
    kept: dict[tuple[object, ...], Distributions] = st.session_state.setdefault(_FOUND, {})
    version = None if info.calibration is None else info.calibration.version
    drawn = None if surface.ignored is None else surface.ignored.tobytes()
    key = (info.digest, info.folder, version, surface.min_area, drawn, images.key)
    if key not in kept:
        if len(kept) >= KEPT:
            kept.clear()
        kept[key] = _scored(info.folder, images, surface)
    return kept[key]


def _scored(folder: Path, images: Images, surface: ScoringMask) -> Distributions:
    with progress_bar("images scored") as task, st.spinner("Scoring the images …"):
        return score_distributions(
            folder,
            images.data,
            labelled=images.labelled,
            normals=images.normals,
            mask=surface,
            task=task,
        )
