import streamlit as st

from skrd4ad.services.models.list import list_models, model_name
from skrd4ad.services.models.shipped import take_over_evaluations
from skrd4ad.ui.evaluate.page import show_evaluations
from skrd4ad.ui.frame import chosen_model, go_to, page, shielded, warn_of_broken, write_address
from skrd4ad.ui.widgets import button


def body() -> None:
    models, broken = list_models()
    warn_of_broken(broken)
    info = chosen_model(models)
    if info is None:
        st.info("There is no model to evaluate yet. Train one from good images first.")
        if button("Train a model", type="primary", icon=":material/model_training:", key="evaluate-train"):
            go_to("train")
        return
    write_address(model=model_name(info))
    take_over_evaluations(models)
    show_evaluations(models, info)


page("evaluate", "How well each model tells good parts from defects, how sure that is, and which parts escape.")
shielded(body)
