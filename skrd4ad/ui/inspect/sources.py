"""Where the images on the Inspect page come from: samples of the data set, uploads, or a folder on the server."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from skrd4ad.data.images.archives import list_zip, read_zip
from skrd4ad.data.images.read import IMAGE_SUFFIXES
from skrd4ad.digests import content_digest
from skrd4ad.errors import ImageError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import images_in
from skrd4ad.types import GOOD, Sample
from skrd4ad.ui.cache import training_class
from skrd4ad.ui.frame import halves
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import choose

SAMPLES = 24
"""Samples that are shown at first, in equal parts of good parts and every type of defect."""
_SOURCES = {
    "samples": "Samples",
    "upload": "Upload",
    "directory": "Folder",
    "camera": "Camera",
    "server": "On the server",
}
_MIXED = "*"
"""Stands for all types; no folder has this name, while "mixed" may be a type of defect."""


@dataclass(frozen=True)
class Item:
    """An image to inspect."""

    id: str
    """Changes with the content and the name."""
    name: str
    source: Path | bytes | ImageError
    """File or bytes, or why it cannot be had."""
    truth: str | None = None
    """``good`` or the type of defect, where the data set tells."""
    sample: Sample | None = None


def pick_items(info: ModelInfo) -> list[Item]:
    """Images the user chose to inspect; empty while none are chosen."""
    left, right = halves("images", 1, 1)
    with left:
        default = "samples" if info.data.get("source") else "upload"
        kind = choose("Images", _SOURCES, default=default, key="inspect-source")
    with right:
        if kind == "samples":
            return _samples(info)
        if kind == "server":
            return _server_folder()
        if kind == "camera":
            photo = st.camera_input("A photograph of the part", key="inspect-camera")
            return [] if photo is None else [_item("photograph", photo.getvalue())]
        return _uploads(directory=kind == "directory")


def _samples(info: ModelInfo) -> list[Item]:
    data = training_class(info).test
    if not data:
        st.info("This data set has no test images. Upload some instead.")
        return []
    types = sorted({sample.defect_type for sample in data}, key=lambda name: (name != GOOD, name))
    names = {_MIXED: f"{min(SAMPLES, len(data))} mixed", **{name: plain(name) for name in types}}
    names |= {GOOD: "good parts"} if GOOD in names else {}
    chosen = st.pills(
        "Which",
        list(names),
        format_func=names.__getitem__,
        default=_MIXED,
        required=True,
        wrap=True,
        key=f"inspect-which-{info.dataset}-{info.class_name}",
    )
    shown = mixed(data, SAMPLES) if chosen == _MIXED else [sample for sample in data if sample.defect_type == chosen]
    return [
        Item(id=_id_of(each.path), name=each.path.name, source=each.path, truth=each.defect_type, sample=each)
        for each in shown
    ]


def mixed(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Up to ``n`` samples, the types of defect and the good parts in turn, each in its own order."""
    by_type: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: s.label, reverse=True):
        by_type.setdefault(sample.defect_type, []).append(sample)
    turns = zip_longest(*by_type.values())
    return [sample for turn in turns for sample in turn if sample is not None][:n]


def _uploads(*, directory: bool) -> list[Item]:
    files = st.file_uploader(
        "A folder of images" if directory else "Images",
        type=[suffix.lstrip(".") for suffix in (*IMAGE_SUFFIXES, ".zip")],
        accept_multiple_files="directory" if directory else True,
        key=f"inspect-upload-{directory}",
        help="PNG, JPEG, BMP, TIFF, WebP or DICOM, or a ZIP of them. They stay on the machine this app runs on.",
    )
    if not files:
        st.caption("Nothing chosen yet. Drop photographs of parts here.")
        return []
    items = []
    for file in files:
        items += _in_zip(file) if file.name.lower().endswith(".zip") else [_item(file.name, file.getvalue())]
    return list({item.id: item for item in items}.values())


def _in_zip(file: UploadedFile) -> list[Item]:
    content = file.getvalue()
    entries = list_zip(content, name=file.name)
    if not entries:
        st.info(f"There are no images in {plain(file.name)}.")
    return [
        Item(id=f"{file.file_id}:{entry.name}", name=entry.name, source=source)
        if isinstance(source, ImageError)
        else _item(entry.name, source)
        for entry, source in read_zip(content, entries, name=file.name)
    ]


def _item(name: str, content: bytes) -> Item:
    return Item(id=f"{content_digest(content)}:{name}", name=name, source=content)


def _server_folder() -> list[Item]:
    folder = pick_folder(key="inspect-folder")
    if folder is None:
        return []
    paths = images_in(folder)
    if not paths:
        st.info(f"There are no images directly in {plain(str(folder))}. Choose a folder inside it.")
        return []
    st.caption(f"{len(paths)} images" if len(paths) > 1 else "1 image")
    return [Item(id=_id_of(path), name=path.name, source=path) for path in paths]


def _id_of(path: Path) -> str:
    try:
        return f"{path}:{path.stat().st_mtime_ns}"
    except OSError:
        # it is gone, or nobody may see it: its inspection tells
        return str(path)
