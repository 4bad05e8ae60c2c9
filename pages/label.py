from skrd4ad.ui.frame import ensure_frame

ensure_frame("label")

import streamlit as st

from skrd4ad.services.models.list import list_models
from skrd4ad.ui.frame import chosen_model, page, shielded, warn_of_broken
from skrd4ad.ui.label.page import show_label


def body() -> None:
    models, broken = list_models()
    info = chosen_model(models)
    if info is None:
        st.info("There is no model to label with yet. Train one from good images first.")
        warn_of_broken(broken)
        if st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page("pages/train.py")
        return
    show_label(info)


page("label", "Decide on what the model is unsure of. Every decision is kept, with who made it and when.")
shielded(body)
