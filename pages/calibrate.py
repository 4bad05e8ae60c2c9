from skrd4ad.ui.frame import ensure_frame

ensure_frame("calibrate")

import streamlit as st

from skrd4ad.services.models.list import list_models
from skrd4ad.ui.calibrate.page import show_calibration
from skrd4ad.ui.calibrate.versions import show_versions
from skrd4ad.ui.frame import chosen_model, page, shielded, warn_of_broken


def body() -> None:
    models, broken = list_models()
    info = chosen_model(models)
    if info is None:
        st.info("There is no model to calibrate yet. Train one from good images first.")
        warn_of_broken(broken)
        if st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page("pages/train.py")
        return
    # the history stays in reach when the images that were chosen cannot be used
    shielded(lambda: show_calibration(info))
    shielded(lambda: show_versions(info))


page("calibrate", "Decide what is OK, for review, or rejected: see what each limit costs, and sign it.")
shielded(body)
