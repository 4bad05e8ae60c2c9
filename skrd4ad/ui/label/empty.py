"""What the Label page says when there is nothing to decide on, and how to get there."""

import streamlit as st

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.labelling.annotate import QueueFilter
from skrd4ad.services.labelling.queue import counts_of
from skrd4ad.ui.label.add import add_data_set, has_data_set
from skrd4ad.ui.label.filters import clear_filter, show_only


def nothing_there(info: ModelInfo, wanted: QueueFilter) -> bool:
    """Say so when the class has no images at all."""
    if counts_of(wanted).total:
        return False
    st.info(
        f"There are no images of {info.class_name.replace('_', ' ')} to decide on yet. Add those of its "
        "data set or your own, or send images to review on the Inspect page."
    )
    with_data = has_data_set(info)
    with st.container(horizontal=True):
        add = with_data and st.button("Add the test images of its data set", type="primary", key="label-add-test")
        inspect = st.button(
            "Inspect images",
            type="secondary" if with_data else "primary",
            icon=":material/frame_inspect:",
            key="label-go-inspect",
        )
    if add:
        add_data_set(info)
    if inspect:
        st.switch_page("pages/inspect.py")
    return True


def nothing_found() -> None:
    """Say that the filter lets no image through."""
    st.info("No image is let through by this filter. If it was for open ones: all of them are decided.")
    with st.container(horizontal=True):
        st.button("Show all images", on_click=clear_filter, type="primary", key="label-show-all")
        st.button("Show decided ones", on_click=show_only, args=("good", "defect", "unsure"), key="label-show-decided")
