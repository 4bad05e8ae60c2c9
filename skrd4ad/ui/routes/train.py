import streamlit as st

from skrd4ad.services.improve.retrain import TRAINING
from skrd4ad.services.training import TrainingRequest
from skrd4ad.ui.doctor import show_report
from skrd4ad.ui.frame import halves, page, shielded
from skrd4ad.ui.job_cards import watch_jobs
from skrd4ad.ui.pickers import pick_classes, pick_settings, pick_source
from skrd4ad.ui.widgets import button, permitted, rerun


def choose_and_start() -> None:
    source, layout = pick_source()
    if source is None:
        return
    chosen = pick_classes(source, layout)
    model, size, train, levels = pick_settings()
    if not chosen:
        st.info("Choose at least one class.")
        return
    ready, insisted, sizes = show_report(chosen, image_size=size, levels=levels, align=train.align)
    count = f"{len(chosen)} trainings" if len(chosen) > 1 else "training"
    if button(
        f"Start {count}",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="train-start",
        **permitted(TRAINING.why_not, disabled=not ready),
    ):
        for data in chosen:
            TRAINING.submit(
                TrainingRequest(
                    source=source,
                    layout=layout,
                    class_name=data.name,
                    model=model.changed(image_size=sizes[data.name]),
                    train=train,
                    levels=levels,
                    insisted=insisted.get(data.name, ""),
                )
            )
        rerun()


page("train", "Teach a student what good parts look like. Training runs in the background; leave and come back.")
left, right = halves("train", 2, 3)
with left:
    shielded(choose_and_start)
with right:
    st.subheader("Jobs", anchor=False)
    shielded(
        lambda: watch_jobs("Nothing was trained yet. Choose a class and start; you may leave this page meanwhile.")
    )
