from pathlib import PurePath

import pandas as pd
import streamlit as st

from skrd4ad.format import format_figure, format_number, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import EMBEDDED_SOURCES
from skrd4ad.services.labelling.review import waiting_images
from skrd4ad.services.models.list import BrokenModel, list_models
from skrd4ad.ui.frame import choose_model, go_to, halves, page, shielded, warn_of_broken
from skrd4ad.ui.history import show_history
from skrd4ad.ui.job_cards import watch_jobs
from skrd4ad.ui.login.people import show_roles
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button

FIGURES = {"Image AUROC": "image_auroc", "Pixel AUROC": "pixel_auroc", "AUPRO": "aupro"}


def inspect_with(info: ModelInfo) -> None:
    choose_model(info.folder)
    go_to("inspect")


def welcome(models: list[ModelInfo]) -> None:
    with st.container(border=True):
        if not models:
            st.markdown("**No model yet.** Train one from good images; the embedded solar cells need no download.")
            if button("Train a model", type="primary", icon=":material/model_training:", key="overview-train"):
                go_to("train")
            return
        # an imported model has neither a limit nor images to show
        ready = next((info for info in models if info.calibration is not None and info.data.get("source")), None)
        about, label = "**Inspect images of your own** with one of the models below.", "Inspect images"
        if ready is not None:
            about = (
                f"**See a defect now.** The model for {plain(ready.class_name.replace('_', ' '))} is trained and "
                "has its limit; open it on images it has never seen."
            )
            label = "Inspect its images"
        st.markdown(about)
        if button(label, type="primary", icon=":material/frame_inspect:", key="overview-inspect"):
            inspect_with(ready or models[0])


def model_table(models: list[ModelInfo], broken: list[BrokenModel]) -> None:
    st.subheader("Models", anchor=False)
    if not models:
        st.caption("There are none. `skrd4ad import-rd4ad` brings in a checkpoint of the original code.")
    else:
        figures = {
            title: [format_figure((info.metrics or {}).get(name)) for info in models] for title, name in FIGURES.items()
        }
        table = pd.DataFrame(
            {
                "Class": [info.class_name for info in models],
                "Data set": [info.dataset for info in models],
                "Network": [info.model.net for info in models],
                "Skips": [info.model.skips for info in models],
                **figures,
                "Epoch chosen": ["on the test set" if info.test_selected else "without test images" for info in models],
                "Made": [info.created_at[:10] for info in models],
            }
        )
        chosen = st.dataframe(
            table,
            hide_index=True,
            key="models",
            column_config={name: st.column_config.TextColumn(alignment="right") for name in FIGURES},
            on_select="rerun",
            selection_mode="single-row",
        )
        st.caption(
            "Figures on each data set's own test images, 0 to 1 (– where there are no masks). "
            "Select a row to inspect with that model."
        )
        if chosen["selection"]["rows"]:
            inspect_with(models[chosen["selection"]["rows"][0]])
    warn_of_broken(broken)


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


def show_models() -> None:
    models, broken = list_models()
    welcome(models)
    model_table(models, broken)


page("overview", "Find defects with nothing but good parts to learn from: what there is, and what is going on.")
shielded(show_models)
shielded(review_queue)
left, right = halves("overview", 2, 3)
with left:
    shielded(data_sets)
with right:
    st.subheader("Jobs", anchor=False)
    shielded(lambda: watch_jobs("Nothing runs, and nothing was trained in this workspace yet."))
shielded(show_roles)
shielded(show_history)
