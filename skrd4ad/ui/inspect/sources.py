"""Where the images on the Inspect page come from: samples of the data set, uploads, or a folder on the server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from skrd4ad.data.images.archives import list_zip, read_zip
from skrd4ad.data.images.read import IMAGE_SUFFIXES
from skrd4ad.digests import content_digest
from skrd4ad.errors import ImageError
from skrd4ad.format import ago, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.datasets import images_in
from skrd4ad.services.inspection.uploads import UploadedBatch, delete_batch, keep_batch, recent_batches
from skrd4ad.types import GOOD, Sample
from skrd4ad.ui.cache import training_class
from skrd4ad.ui.frame import asked_for, sample_key, write_address
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, choose, permitted, rerun

SAMPLES = 24
"""Samples that are shown at first, in equal parts of good parts and every type of defect."""
_SOURCES = {
    "samples": "Samples",
    "upload": "Upload",
    "directory": "Folder",
    "camera": "Camera",
    "server": "On the server",
}
_OTHERS: dict[str, tuple[str, ...]] = {"samples": ("batch",), "upload": ("which",), "directory": ("which",)}
"""What an address does not name beside a source of images."""
_BATCH, _DROPS, _EMPTY = "_inspect_batch", "_inspect_drops", "_inspect_empty"
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
    key: str
    """Names it in an address: by its content, or by its place below where it comes from."""
    truth: str | None = None
    """``good`` or the type of defect, where the data set tells."""
    sample: Sample | None = None


def pick_items(info: ModelInfo) -> list[Item]:
    """Images the user chose to inspect; empty while none are chosen."""
    with st.container(horizontal=True, vertical_alignment="center", key="inspect-images"):
        default = "samples" if info.data.get("source") else "upload"
        if (asked := asked_for("from")) is not None:
            st.session_state["inspect-source"] = asked if asked in _SOURCES else default
        kind = choose("Images", _SOURCES, default=default, key="inspect-source", label_visibility="collapsed")
        write_address(**{"from": None if kind == default else kind})
        write_address(**dict.fromkeys(_OTHERS.get(kind, ("which", "batch"))))
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
    key = f"inspect-which-{info.dataset}-{info.class_name}"
    if (asked := asked_for("which")) is not None:
        st.session_state[key] = asked if asked in names else _MIXED
    chosen = st.pills(
        "Which",
        list(names),
        format_func=names.__getitem__,
        default=_MIXED,
        required=True,
        wrap=True,
        label_visibility="collapsed",
        key=key,
    )
    write_address(which=None if chosen == _MIXED else str(chosen))
    if chosen == _MIXED:
        shown = _with_asked(mixed(data, SAMPLES), data, added=st.session_state.setdefault(f"_added-{key}", set()))
    else:
        shown = [sample for sample in data if sample.defect_type == chosen]
    return [
        Item(
            id=_id_of(each.path),
            name=each.path.name,
            source=each.path,
            key=sample_key(each.defect_type, each.path.name),
            truth=each.defect_type,
            sample=each,
        )
        for each in shown
    ]


def _with_asked(shown: list[Sample], samples: Sequence[Sample], *, added: set[str]) -> list[Sample]:
    """Samples with those that the address has asked for in this session."""
    added.add(st.query_params.get("image", ""))
    there = {sample.path for sample in shown}
    asked = (each for each in samples if sample_key(each.defect_type, each.path.name) in added)
    return shown + [each for each in asked if each.path not in there]


def mixed(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Up to ``n`` samples, the types of defect and the good parts in turn, each in its own order."""
    by_type: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda s: s.label, reverse=True):
        by_type.setdefault(sample.defect_type, []).append(sample)
    turns = zip_longest(*by_type.values())
    return [sample for turn in turns for sample in turn if sample is not None][:n]


def _uploads(*, directory: bool) -> list[Item]:
    """A batch of what was dropped, now or before; the address names it."""
    # a new widget after every drop: its files are kept, and the next ones are another batch
    drop = f"inspect-upload-{directory}-{st.session_state.get(_DROPS, 0)}"
    files = st.file_uploader(
        "A folder of images" if directory else "Images",
        type=[suffix.lstrip(".") for suffix in (*IMAGE_SUFFIXES, ".zip")],
        accept_multiple_files="directory" if directory else True,
        key=drop,
        label_visibility="collapsed",
        help="PNG, JPEG, BMP, TIFF, WebP or DICOM, or a ZIP of them. They stay on the machine this app runs on.",
    )
    if files and (contents := _contents(files)):
        with progress_bar("images kept") as task:
            st.session_state[_BATCH] = keep_batch(contents, task).key
        st.session_state[_DROPS] = st.session_state.get(_DROPS, 0) + 1
        rerun()
    for name in st.session_state.get(_EMPTY, ()):
        st.info(f"There are no images in {plain(name)}.")
    batches = {batch.key: batch for batch in recent_batches()}
    if (asked := asked_for("batch")) is not None:
        st.session_state[_BATCH] = asked or None
    if not batches:
        st.caption("Nothing chosen yet. Drop photographs of parts here.")
        return []
    chosen = st.session_state.get(_BATCH)
    if chosen is not None and chosen not in batches:
        st.caption("What the address names was deleted, or never was in this workspace. Here is what was dropped last.")
    batch = _pick_batch(batches, chosen if chosen in batches else next(iter(batches)))
    write_address(batch=batch.key)
    return [
        Item(
            id=f"{image.digest}:{image.name}",
            name=image.name,
            source=image.source,
            key=f"{image.digest[:16]}/{image.name}",
        )
        for image in {(image.digest, image.name): image for image in batch.images}.values()
    ]


def _pick_batch(batches: Mapping[str, UploadedBatch], chosen: str) -> UploadedBatch:
    """One of the recent batches, and a way to delete it."""

    def title(key: str) -> str:
        batch = batches[key]
        about = batch.images[0].name if len(batch.images) == 1 else plural(len(batch.images), "image")
        return f"{about}, {ago(datetime.fromisoformat(batch.kept_at))}"

    keys = list(batches)
    picked = str(
        st.selectbox(
            "Recent",
            keys,
            index=keys.index(chosen),
            format_func=title,
            key=f"inspect-batch-{chosen}",
            width=260,
            label_visibility="collapsed",
            help="What was dropped before, the newest first.",
        )
    )
    if picked != chosen:
        st.session_state[_BATCH] = picked
        rerun()
    count = plural(len(batches[chosen].images), "image")
    with st.popover("", icon=":material/delete:", help=f"Delete {count}", key=f"inspect-bin-{chosen}"):
        st.markdown(f"This deletes {count} from the workspace. What was sent to review stays there.")
        if button("Delete", type="primary", key="inspect-delete", **permitted(why_not(delete_batch))):
            delete_batch(chosen)
            st.session_state.pop(_BATCH, None)
            rerun()
    return batches[picked]


def _contents(files: Sequence[UploadedFile]) -> list[tuple[str, bytes | ImageError]]:
    """Names and contents of uploaded files, those of ZIP files one by one, or why one cannot be had."""
    contents: list[tuple[str, bytes | ImageError]] = []
    st.session_state[_EMPTY] = empty = []
    for file in files:
        if not file.name.lower().endswith(".zip"):
            contents.append((file.name, file.getvalue()))
            continue
        packed = file.getvalue()
        entries = list_zip(packed, name=file.name)
        if not entries:
            empty.append(file.name)
        contents += [(entry.name, source) for entry, source in read_zip(packed, entries, name=file.name)]
    return contents


def _item(name: str, content: bytes) -> Item:
    digest = content_digest(content)
    return Item(id=f"{digest}:{name}", name=name, source=content, key=digest[:16])


def _server_folder() -> list[Item]:
    folder = pick_folder(key="inspect-folder")
    if folder is None:
        return []
    paths = images_in(folder)
    if not paths:
        st.info(f"There are no images directly in {plain(str(folder))}. Choose a folder inside it.")
        return []
    st.caption(f"{len(paths)} images" if len(paths) > 1 else "1 image")
    return [Item(id=_id_of(path), name=path.name, source=path, key=path.name) for path in paths]


def _id_of(path: Path) -> str:
    try:
        return f"{path}:{path.stat().st_mtime_ns}"
    except OSError:
        # it is gone, or nobody may see it: its inspection tells
        return str(path)
