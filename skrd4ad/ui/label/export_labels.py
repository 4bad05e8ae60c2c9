"""Exporting labels: the format, what it will hold, the files; and making a data set of them."""

from dataclasses import replace

import streamlit as st

from skrd4ad.format import format_size, plural
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.datasets import made_folder
from skrd4ad.services.labelling.exchange.formats.coco import Segmentation
from skrd4ad.services.labelling.exchange.plan import TEST_SHARE, ExportOptions, ExportPlan, plan_export
from skrd4ad.services.labelling.exchange.records import FORMATS, WRITTEN, Format
from skrd4ad.services.labelling.exchange.transfer import (
    LARGEST_DOWNLOAD,
    export_folder,
    export_lines,
    export_zip_bytes,
    exported_lines,
    free_name,
    make_dataset,
)
from skrd4ad.services.labelling.exchange.write import Exported
from skrd4ad.services.labelling.queue import filter_of
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import state_of_class
from skrd4ad.storage.label_queue import QueueFilter
from skrd4ad.ui.frame import go_to
from skrd4ad.ui.pickers import choose_made
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, choose, file_button, permitted, rerun

_PLANS, _ZIP, _MADE = "_exchange-plans", "_exchange-zip", "_exchange-made"
_SEGMENTATIONS: dict[Segmentation, str] = {"rle": "Run lengths", "polygons": "Polygons"}
_ABOUT: dict[Format, str] = {
    "mvtec": "A folder for good parts and one for each type of defect, masks beside them. Train and Evaluate read it, "
    "and so does every tool for MVTec AD.",
    "coco": "One JSON file with an annotation for each region, for tools that detect and segment.",
    "csv": "One row an image, one row a decision, masks as PNG. Opens in a spreadsheet.",
    "cvat": "An XML file for images 1.1 with a mask for each region, exact; a CSV table with all decisions beside it.",
    "label-studio": "Tasks as JSON with brushes, exact; a CSV table with all decisions beside it.",
    "yolo": "A text with polygons for each image, for training; exact masks as PNG and a CSV table beside it.",
}


def show_export(info: ModelInfo) -> None:
    """What can be exported of the labels of a model's class, and how."""
    wanted = filter_of(info, None)
    options = _pick_options()
    plan = _plan(wanted, options)
    if not plan.images:
        st.info(
            f"No image of {plain(info.class_name.replace('_', ' '))} is labelled good or defective yet. Decide on some "
            "first, or import labels."
        )
        return
    _counts(plan)
    _files(plan)
    st.divider()
    _dataset(info, _plan(wanted, ExportOptions(format="mvtec", test_share=options.test_share)))


def _pick_options() -> ExportOptions:
    kind: Format = choose("Format", {each: FORMATS[each] for each in WRITTEN}, default="mvtec", key="exchange-format")
    st.caption(_ABOUT[kind])
    options = ExportOptions(format=kind)
    if kind == "coco":
        segmentation = choose(
            "Masks as",
            _SEGMENTATIONS,
            default="rle",
            key="exchange-segmentation",
            help="Both are exact. Polygons run along the edges of pixels; editors of annotations want them.",
        )
        options = replace(options, segmentation=segmentation)
    if kind != "mvtec":
        copied = st.toggle("Copy the images", value=True, key="exchange-images", persist_state="session")
        options = replace(options, images=copied)
    unsure = st.toggle(
        "Unsure images too",
        key="exchange-unsure",
        persist_state="session",
        help="They are marked as unsure and stand apart: no tool takes them for good or defective.",
    )
    share = st.number_input(
        "Good images for testing, %",
        0.0,
        90.0,
        100 * TEST_SHARE,
        5.0,
        format="%.0f",
        key="exchange-share",
        persist_state="session",
        help="Good images of a data set stay on the side it has them. The others are split by their content: none "
        "changes sides when more are labelled.",
    )
    return replace(options, unsure=unsure, test_share=float(share) / 100)


def _plan(wanted: QueueFilter, options: ExportOptions) -> ExportPlan:
    """What an export holds; counted again only when the labels changed."""
    state = _labels_state(wanted)
    plans: dict[ExportOptions, ExportPlan]
    at, plans = st.session_state.get(_PLANS, (None, {}))
    if at != (wanted, state):
        plans = {}
    if options not in plans:
        with st.spinner("Counting the labels …"):
            plans[options] = plan_export(wanted, options)
    st.session_state[_PLANS] = ((wanted, state), plans)
    return plans[options]


def _labels_state(wanted: QueueFilter) -> tuple[int, int, int]:
    """Changes when images, decisions or scores are added to a class."""
    with workspace_database().read() as session:
        return state_of_class(
            session, dataset=wanted.dataset, class_name=wanted.class_name, model_digest=wanted.model_digest
        )


def _counts(plan: ExportPlan) -> None:
    numbers = (len(plan.images), plan.count("good"), plan.count("defect"), plan.masks)
    for column, title, number in zip(st.columns(4), ("Images", "Good", "Defects", "Masks"), numbers, strict=True):
        column.metric(title, f"{number:d}")
    st.caption("  \n".join(map(plain, export_lines(plan)[1:])))


def _files(plan: ExportPlan) -> None:
    if plan.size > LARGEST_DOWNLOAD:
        _on_server(plan)
        return
    key = (plan.wanted, plan.options, _labels_state(plan.wanted))
    what = plural(len(plan.images), "image") if plan.options.images else f"{plural(len(plan.images), 'label')} only"
    if button(
        f"Make a ZIP of {what}",
        key="exchange-make",
        icon=":material/folder_zip:",
        type="primary",
        **permitted(why_not(export_zip_bytes)),
    ):
        with progress_bar("images") as task:
            content, exported = export_zip_bytes(plan, task=task)
        st.session_state[_ZIP] = (key, content, exported)
    made = st.session_state.get(_ZIP)
    if made is None or made[0] != key:
        return
    _, content, exported = made
    name = f"{folder_name(plan.wanted.class_name)}-{plan.options.format}.zip"
    file_button(f"Download the ZIP, {format_size(len(content))}", content, name, key="exchange-download")
    _say(exported)


def _on_server(plan: ExportPlan) -> None:
    st.caption(f"{format_size(plan.size)} of images are too much for a download; they are written on the server.")
    label = f"Write {plural(len(plan.images), 'image')} to a folder on the server"
    if button(
        label, key="exchange-write", icon=":material/folder:", type="primary", **permitted(why_not(export_folder))
    ):
        with progress_bar("images") as task:
            folder, exported = export_folder(plan, task=task)
        st.success(f"Written to {plain(str(folder))}", icon=":material/check_circle:")
        _say(exported)


def _dataset(info: ModelInfo, plan: ExportPlan) -> None:
    st.markdown("**Data set for Train and Evaluate**")
    st.caption("A copy of the images with these labels. It stays as it is when labels change.")
    name = st.text_input(
        "Name of the data set",
        value=free_name(made_folder() / f"{folder_name(info.dataset)}-labelled").name,
        key=f"exchange-name-{len(st.session_state.get(_MADE, ()))}",
    )
    label = f"Make a data set of {plural(len(plan.images), 'image')}"
    if button(label, key="exchange-dataset", icon=":material/dataset:", **permitted(why_not(make_dataset))):
        with progress_bar("images") as task:
            folder, exported = make_dataset(plan, name, task=task)
        st.session_state.setdefault(_MADE, []).append((folder.name, exported))
        rerun()
    if not (made := st.session_state.get(_MADE)):
        return
    called, exported = made[-1]
    st.success(f"{plain(called)} can be chosen on the Train page now.", icon=":material/check_circle:")
    _say(exported)
    if button("Go to Train", key="exchange-train", icon=":material/model_training:"):
        choose_made(called)
        go_to("train")


def _say(exported: Exported) -> None:
    st.caption("  \n".join(map(plain, exported_lines(exported))))
