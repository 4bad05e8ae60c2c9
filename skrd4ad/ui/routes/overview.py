from pathlib import PurePath

import pandas as pd
import streamlit as st

from skrd4ad.format import format_number, plural
from skrd4ad.services.datasets import EMBEDDED_SOURCES
from skrd4ad.services.labelling.review import waiting_images
from skrd4ad.ui.frame import go_to, halves, page, shielded
from skrd4ad.ui.job_cards import watch_jobs
from skrd4ad.ui.login.people import show_roles
from skrd4ad.ui.overview.cards import show_cards
from skrd4ad.ui.overview.history import show_history
from skrd4ad.ui.widgets import button


def data_sets() -> None:
    st.subheader("Data sets", anchor=False)
    for source in EMBEDDED_SOURCES:
        st.markdown(f"**{source.title}**  \n{source.about}")
    st.markdown("**Your own**  \nA folder of good images, or a published data set as it was unpacked, on this server.")
    if button("Train on a data set", icon=":material/model_training:", key="overview-train-more"):
        go_to("train")


def review_queue() -> None:
    waiting = waiting_images()
    if not waiting:
        return
    st.subheader("Waiting for review", anchor=False)
    st.caption(f"{plural(len(waiting), 'image')}, the longest waiting first")
    st.dataframe(
        pd.DataFrame(
            {
                "Image": [image.name for image, _ in waiting],
                "Verdict": [said.verdict or "no limit" for _, said in waiting],
                "Score": [format_number(said.score) for _, said in waiting],
                "Limit": ["–" if said.threshold is None else format_number(said.threshold) for _, said in waiting],
                "Model": [PurePath(said.model_folder).name for _, said in waiting],
            }
        ),
        hide_index=True,
        height=min(35 * (len(waiting) + 1) + 3, 250),
    )


page("overview", "Find defects with nothing but good parts to learn from: what there is, and what is going on.")
shielded(show_cards)
shielded(review_queue)
left, right = halves("overview", 2, 3)
with left:
    shielded(data_sets)
with right:
    st.subheader("Jobs", anchor=False)
    shielded(lambda: watch_jobs("Nothing runs, and nothing was trained in this workspace yet."))
shielded(show_roles)
shielded(show_history)
