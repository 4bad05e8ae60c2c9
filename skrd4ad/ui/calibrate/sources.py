"""Which images a calibration looks at: normals that promise, and labelled images that tell of escapes."""

from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from skrd4ad.data.images.read import IMAGE_SUFFIXES
from skrd4ad.errors import DataError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import classes_of, images_in
from skrd4ad.services.labelling.review import keep_upload
from skrd4ad.types import DatasetClass
from skrd4ad.ui.cache import training_class
from skrd4ad.ui.frame import halves, show_error
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import choose

_NORMALS = {"held-out": "Held out of training", "upload": "New, uploaded", "server": "New, server folder"}
_LABELLED = {"none": "None", "tests": "Test images", "folder": "Own folder"}


@dataclass(frozen=True)
class Images:
    """The images that count."""

    data: DatasetClass | None
    """The class the model was trained on; None when it is not at hand."""
    normals: tuple[Path, ...]
    """New good images; empty for those held out of training."""
    labelled: DatasetClass | None
    """Labelled images; None for the data set's own test images, a class without samples for none."""

    @property
    def key(self) -> tuple[object, ...]:
        """Changes with the images."""
        named = () if self.labelled is None else tuple((s.path, s.defect_type) for s in self.labelled.samples)
        return (None if self.data is None else self.data.root, self.normals, self.labelled is None, named)


def pick_images(info: ModelInfo) -> Images | None:
    """The images the user chose; None while a choice is not finished, which the page then says."""
    data = _class_of(info)
    left, right = halves("calibrate-images", 1, 1)
    with left:
        normals = _pick_normals(info)
    with right:
        labelled = _pick_labelled(data, info)
    if normals is None or isinstance(labelled, str):
        return None
    return Images(data, normals, labelled)


def typical_image(images: Images) -> Path | None:
    """A good image to draw ignored regions on; None when none is at hand."""
    if images.normals:
        return images.normals[0]
    return images.data.train[0].path if images.data is not None and images.data.train else None


def _pick_normals(info: ModelInfo) -> tuple[Path, ...] | None:
    held_out = info.calibration is not None and bool(info.calibration.scores)
    kind = choose(
        "Good images",
        _NORMALS,
        default="held-out" if held_out else "upload",
        key=f"calibrate-normals-{info.digest}",
        help="Good parts the model has not learnt from. Only they can promise a false-reject rate. "
        "With new ones the limits follow a changed camera or lamp; the model itself is not trained again.",
    )
    if kind == "held-out":
        if not held_out:
            st.caption("No scores of held-out images are stored with this model.")
        return ()
    paths = _uploaded() if kind == "upload" else _in_folder("calibrate-normals-folder")
    return paths or None


def _uploaded() -> tuple[Path, ...]:
    files = st.file_uploader(
        "New good images",
        type=[suffix.lstrip(".") for suffix in IMAGE_SUFFIXES],
        accept_multiple_files=True,
        key="calibrate-upload",
        help="PNG, JPEG, BMP, TIFF, WebP or DICOM, of good parts only. They stay on the machine this app runs on.",
    )
    if not files:
        st.caption("Nothing chosen yet. Drop photographs of good parts here; scoring them takes seconds.")
        return ()
    return tuple(dict.fromkeys(keep_upload(file.getvalue(), name=file.name) for file in files))


def _in_folder(key: str) -> tuple[Path, ...]:
    folder = pick_folder(key=key)
    paths = () if folder is None else tuple(images_in(folder))
    if folder is not None:
        where = plain(folder.name if paths else str(folder))
        st.caption(f"{len(paths)} images directly in {where}" if paths else f"No images directly in {where}.")
    return paths


def _pick_labelled(data: DatasetClass | None, info: ModelInfo) -> DatasetClass | str | None:
    """A class, None for the test images, or in words what is missing."""
    has_tests = data is not None and bool(data.test)
    kind = choose(
        "Labelled images, to count escapes",
        {name: text for name, text in _LABELLED.items() if name != "tests" or has_tests},
        default="none",
        key=f"calibrate-labelled-{info.digest}",
        help="Good parts and defects with labels. Best are images of your own that are used for nothing else.",
    )
    if kind == "tests":
        st.badge("uses test images: figures on them will be optimistic", color="orange", icon=":material/warning:")
        return None
    if kind == "folder":
        return _labelled_folder()
    st.caption("No defects known: escapes cannot be counted.")
    if data is not None:
        return replace(data, samples=())
    return DatasetClass(info.dataset, info.class_name, info.folder, "folder", ())


def _labelled_folder() -> DatasetClass | str:
    try:
        folder = pick_folder(key="calibrate-labelled-folder")
        if folder is None:
            return "no folder"
        classes = {each.name: each for each in classes_of(str(folder))}
    except DataError as error:
        show_error(error)
        return "no data"
    name = st.selectbox("Class", list(classes), key="calibrate-class") if len(classes) > 1 else next(iter(classes))
    chosen = classes[str(name)]
    defects = sum(sample.label for sample in chosen.samples)
    st.caption(f"{len(chosen.samples) - defects} good and {defects} defective images")
    return chosen


def _class_of(info: ModelInfo) -> DatasetClass | None:
    if not info.data.get("source"):
        return None
    try:
        return training_class(info)
    except DataError as error:
        st.caption(f"The images this model was trained on are not at hand: {plain(str(error))}")
        return None
