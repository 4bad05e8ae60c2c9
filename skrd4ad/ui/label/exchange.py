"""Labels in and out on the Label page: exports, data sets made of labels, imports."""

import streamlit as st

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.ui.frame import halves, shielded
from skrd4ad.ui.label.export_labels import show_export
from skrd4ad.ui.label.import_labels import show_import


def show_exchange(info: ModelInfo) -> None:
    """Export on the left, import on the right, for the class of a model.

    Args:
        info: its class is exported and imported into, and its scores go into the table.
    """
    left, right = halves("label-exchange", 1, 1)
    with left:
        st.subheader("Export", anchor=False)
        shielded(lambda: show_export(info))
    with right:
        st.subheader("Import", anchor=False)
        shielded(lambda: show_import(info))
