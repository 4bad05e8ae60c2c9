"""Bringing models in: bundles of this program, and checkpoints of the original code."""

from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from skrd4ad.config import NETS, ModelConfig
from skrd4ad.format import format_size, minute, plural
from skrd4ad.model_folder.bundle import read_bundle
from skrd4ad.services.access import why_not
from skrd4ad.services.models.library import import_model_bundle, import_uploaded_checkpoint
from skrd4ad.types import parse_size
from skrd4ad.ui.frame import shielded
from skrd4ad.ui.models.state import show_next, tell
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, permitted, rerun

LARGEST_MB = 2000
_TURN = "_models-import-turn"
_SKIPS = {1: "0, RD4AD", 2: "1, not a file of the original code", 3: "2, SK-RD4AD"}


def show_import() -> None:
    """One place for both kinds of file: what was dropped tells which it is."""
    file = st.file_uploader(
        "Model",
        type=["zip", "pth", "pt", "safetensors"],
        max_upload_size=LARGEST_MB,
        key=f"models-import-file-{_turn()}",
        help="A bundle has every part of a model in one file. A checkpoint (.pth) is what the code of RD4AD and "
        "SK-RD4AD writes, with its bottleneck and decoder.",
    )
    if file is None:
        st.caption('A bundle, as "Bundle" on this page makes it, or a checkpoint of RD4AD or SK-RD4AD.')
        return
    shielded(lambda: (_bundle if file.name.lower().endswith(".zip") else _checkpoint)(file))


def _bundle(file: UploadedFile) -> None:
    content = file.getvalue()
    holds = read_bundle(content, name=file.name)
    size = format_size(sum(part.bytes for part in holds.parts.values()))
    st.markdown(
        f"**{plain(holds.class_name)}** of {plain(holds.dataset)}, run {plain(holds.run)}, "
        f"network {plain(holds.net)}. {plural(len(holds.parts), 'part')}, {size}, made "
        f"{plain(minute(holds.made_at))} with version {plain(holds.made_with)}."
    )
    if button(
        "Import the bundle",
        type="primary",
        icon=":material/upload:",
        key="models-import-bundle",
        **permitted(why_not(import_model_bundle)),
    ):
        with st.spinner("Checking every part …"):
            found = import_model_bundle(content, name=file.name)
        title = plain(found.info.title)
        _done(
            found.info.folder,
            f"{title} was here already, with the same content; nothing was written."
            if found.existed
            else f"{title} is imported; every part is as its bundle says.",
        )


def _checkpoint(file: UploadedFile) -> None:
    st.caption(
        "A checkpoint of the original code. It gives the same maps and scores. It has no limits: calibrate it on good "
        "parts."
    )
    net = st.selectbox(
        "Teacher it was trained with",
        NETS,
        index=NETS.index("wide_res50"),
        key="models-import-net",
        help="The EfficientNet-Lites come with the app; the ResNets fetch their weights once.",
    )
    res = st.selectbox(
        "Skip connections",
        list(_SKIPS),
        index=2,
        format_func=_SKIPS.__getitem__,
        key="models-import-res",
        help="The file does not tell. The code of SK-RD4AD makes two whatever its --res says, but none for 0.",
    )
    about = "What it was trained at: 256 is a square, 64x1280 height x width."
    size = st.text_input("Image size, pixels", "256", key="models-import-size", help=about)
    dataset = st.text_input("Data set", key="models-import-dataset", placeholder="imported", max_chars=80)
    name = st.text_input("Class", key="models-import-class", placeholder="the file's name", max_chars=80)
    if button(
        "Import the checkpoint",
        type="primary",
        icon=":material/upload:",
        key="models-import-checkpoint",
        **permitted(why_not(import_uploaded_checkpoint)),
    ):
        with progress_bar("bytes") as task:
            task.report(0, 0, "reading the file and the teacher's weights")
            info = import_uploaded_checkpoint(
                file.name,
                file.getvalue(),
                model=ModelConfig(net=str(net), res=int(res), image_size=parse_size(size)),
                dataset=dataset,
                class_name=name,
                task=task,
            )
        _done(info.folder, f"{plain(info.title)} is imported. It has no limits yet: calibrate it on good parts.")


def _done(folder: Path, message: str) -> None:
    st.session_state[_TURN] = _turn() + 1
    show_next(folder)
    tell(message)
    rerun()


def _turn() -> int:
    """Number of imports so far; a new one has an empty uploader."""
    return int(st.session_state.get(_TURN, 0))
