from skrd4ad.ui.frame import ensure_frame

ensure_frame("inspect")

import streamlit as st

from skrd4ad.services.models.list import list_models
from skrd4ad.ui.frame import chosen_model, page, shielded, warn_of_broken
from skrd4ad.ui.inspect.page import show_items
from skrd4ad.ui.inspect.sources import pick_items


def body() -> None:
    models, broken = list_models()
    info = chosen_model(models)
    if info is None:
        st.info("There is no model to inspect with yet. Train one from good images first.")
        warn_of_broken(broken)
        if st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page("pages/train.py")
        return
    items = pick_items(info)
    if items:
        show_items(info, items)


page("inspect", "Look at parts with a trained model: where it sees a defect, how strongly, and against which limit.")
shielded(body)
