"""The work on the Calibrate page: images, a way to choose, the board with the limits, and the signature."""

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
from skrd4ad.ui.calibrate.scoring_mask import applied_mask, pick_scoring_mask
from skrd4ad.ui.calibrate.sources import Images, pick_images, typical_image
from skrd4ad.ui.calibrate.versions import save_form, show_versions
from skrd4ad.ui.components.calibration_board import BoardState, ScoreGroup, calibration_board
from skrd4ad.ui.frame import shielded
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain

_MOVED, _FOUND = "calibrate-moved", "calibrate-found"
KEPT = 8


def show_calibration(info: ModelInfo) -> None:
    """The whole page; the versions stay in reach when the images that were chosen cannot be used."""
    shielded(lambda: _calibrate(info))
    shielded(lambda: show_versions(info))


def _calibrate(info: ModelInfo) -> None:
    images = pick_images(info)
    if images is None:
        st.info("Choose the images above to see their scores.")
        return
    found = _distributions(info, images, applied_mask(info))
    choice = pick_choice(found, info.calibration)
    proposal = None if choice is None else _on_board(info, found, choice)
    warnings = found.warnings if proposal is None else proposal.warnings
    if warnings:
        st.caption("  \n".join(f":material/info: {plain(warning)}" for warning in warnings))
    pick_scoring_mask(info, typical_image(images))
    if proposal is not None:
        save_form(info, proposal)


def _on_board(info: ModelInfo, found: Distributions, choice: ThresholdChoice) -> Proposal:
    """The board, and the proposal for the limits as they stand on it."""
    proposal = propose(found, choice)
    start = BoardState(
        review=proposal.calibration.review_threshold,
        reject=proposal.calibration.image_threshold,
    )
    # limits that the user moved count for the model and the proposal that they were moved from
    origin = (info.digest, start)
    moved_from, moved = st.session_state.get(_MOVED, (None, start))
    limits: BoardState = moved if moved_from == origin else start
    answer = calibration_board(
        groups_of(found),
        proposal=start,
        limits=limits,
        defect_rate=choice.defect_rate,
        costs=choice.costs,
        unit=unit(),
        key="calibrate-board",
    )
    limits = answer or limits
    st.session_state[_MOVED] = (origin, limits)
    if limits == start:
        return proposal
    by_hand = ThresholdChoice(
        way="manual",
        threshold=limits.reject,
        review_threshold=None if limits.review == limits.reject else limits.review,
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


def _distributions(info: ModelInfo, images: Images, scoring: ScoringMask) -> Distributions:
    """Scores of the images; kept, so that a moved limit reads no file."""
    kept: dict[tuple[object, ...], Distributions] = st.session_state.setdefault(_FOUND, {})
    version = None if info.calibration is None else info.calibration.version
    drawn = None if scoring.ignored is None else scoring.ignored.tobytes()
    key = (info.digest, info.folder, version, scoring.min_area, drawn, images.key)
    if key not in kept:
        if len(kept) >= KEPT:
            kept.clear()
        with progress_bar("images scored") as task, st.spinner("Scoring the images …"):
            kept[key] = score_distributions(
                info.folder,
                images.data,
                labelled=images.labelled,
                normals=images.normals,
                mask=scoring,
                task=task,
            )
    return kept[key]
