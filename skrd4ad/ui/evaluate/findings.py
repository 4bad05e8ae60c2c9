"""What the limits of a model do to an evaluation, kept between the reruns of the page."""

import json

import streamlit as st

from skrd4ad.documents import to_plain
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.operating_points import Findings, findings
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.ui.frame import go_to
from skrd4ad.ui.widgets import button


def findings_of(stored: StoredEvaluation) -> tuple[Findings | None, str]:
    """What the calibration does that the model has now, and why there is none; see
    :meth:`skrd4ad.services.evaluation.result.StoredEvaluation.limits`.
    """
    calibration, why_none = stored.limits()
    if calibration is None:
        return None, why_none
    limits = json.dumps(to_plain(calibration), sort_keys=True)
    return _found(stored.summary.key, stored.summary.created_at, limits, stored, calibration), ""


def offer_calibration(why_none: str, *, key: str) -> None:
    """Say why there are no limits, and lead to where they are made."""
    st.info(why_none, icon=":material/tune:")
    if button("Calibrate", type="primary", icon=":material/tune:", key=key):
        go_to("calibrate")


@st.cache_resource(max_entries=32, show_spinner="Counting what the limits let pass …")
def _found(
    key: str,  # noqa: ARG001
    created_at: str,  # noqa: ARG001
    limits: str,  # noqa: ARG001
    _stored: StoredEvaluation,
    _calibration: Calibration,
) -> Findings:
    return findings(_stored, _calibration)
