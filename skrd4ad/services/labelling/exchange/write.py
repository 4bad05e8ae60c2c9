"""Writing an export: one image at a time into a folder or a ZIP file; the tables of labels come last."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

from skrd4ad.data.images.read import content_hash, image_size, read_mask
from skrd4ad.errors import DataError, ImageError
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.services.labelling.exchange import coco, csv_format, mvtec
from skrd4ad.services.labelling.exchange.plan import ExportPlan
from skrd4ad.services.labelling.exchange.records import Labelled, Problem
from skrd4ad.services.labelling.exchange.sinks import Sink
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.types import Progress

IMAGES, MASKS, OLD_MASKS = "images", "masks", "history_masks"


@dataclass(frozen=True)
class Files:
    """The files behind an image to export, read and checked."""

    image: bytes | None
    """None when images are not copied."""
    shape: tuple[int, int] | None
    """Height and width; None where nothing depends on them."""
    masks: Mapping[str, bytes]
    """PNG files by their paths below the workspace folder: all of the history."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote."""

    images: int
    masks: int
    """Masks that hold now; those of earlier decisions are not counted."""
    left_out: tuple[Problem, ...]
    """Images whose files turned out to be changed, damaged or gone while they were read."""


class Book(Protocol):
    """Writes one format."""

    def add(self, each: Labelled, files: Files, sink: Sink) -> None:
        """Write an image and its masks."""

    def close(self, sink: Sink) -> None:
        """Write what is known only after the last image."""


def write_export(plan: ExportPlan, sink: Sink, *, progress: Progress | None = None) -> Exported:
    """Write an export. An image whose files cannot be used is left out and named; nothing else is lost for it.

    Raises:
        DataError: the place cannot be written.
    """
    book: Book = _CocoBook(plan) if plan.options.format == "coco" else _TableBook(plan)
    left_out: list[Problem] = []
    masks = 0
    for done, each in enumerate(plan.images, start=1):
        try:
            files = _files_of(each, copied=plan.options.images, sized=plan.options.format == "coco")
        except DataError as error:
            left_out.append(Problem(each.item.name, str(error)))
        else:
            book.add(each, files, sink)
            masks += each.item.mask_file is not None
        if progress is not None:
            progress(done, len(plan.images))
    book.close(sink)
    return Exported(images=len(plan.images) - len(left_out), masks=masks, left_out=tuple(left_out))


class _TableBook:
    """The MVTec layout, and CSV: both are tables, and differ in where the images are."""

    def __init__(self, plan: ExportPlan) -> None:
        self._plan = plan
        self._class_folder = folder_name(plan.wanted.class_name)
        self._labels: list[csv_format.Row] = []
        self._history: list[csv_format.Row] = []
        self._written: set[str] = set()

    def add(self, each: Labelled, files: Files, sink: Sink) -> None:
        place = self._image_place(each)
        if files.image is not None:
            sink.add(place, files.image)
        old = {file: f"{OLD_MASKS}/{PurePosixPath(file).name}" for file in files.masks}
        for file, name in old.items():
            if name not in self._written:
                self._written.add(name)
                sink.add(name, files.masks[file])
        mask = ""
        if each.item.mask_file is not None:
            mask = self._mask_place(each) or old[each.item.mask_file]
            if mask not in self._written:
                sink.add(mask, files.masks[each.item.mask_file])
        self._labels.append(csv_format.label_row(each, file=place, mask=mask, model=self._plan.wanted.model_digest))
        self._history += csv_format.history_rows(each, old)

    def close(self, sink: Sink) -> None:
        sink.add(csv_format.LABELS, csv_format.table_bytes(csv_format.COLUMNS, self._labels))
        sink.add(csv_format.HISTORY, csv_format.table_bytes(csv_format.HISTORY_COLUMNS, self._history))

    def _image_place(self, each: Labelled) -> str:
        if self._plan.options.format == "mvtec":
            return mvtec.image_place(each, class_folder=self._class_folder)
        return f"{IMAGES}/{each.file_name}"

    def _mask_place(self, each: Labelled) -> str | None:
        if self._plan.options.format == "mvtec":
            return mvtec.mask_place(each, class_folder=self._class_folder)
        return f"{MASKS}/{PurePosixPath(each.file_name).stem}_mask.png"


class _CocoBook:
    """COCO: everything but the images is in one file."""

    def __init__(self, plan: ExportPlan) -> None:
        self._plan = plan
        self._categories = sorted({coco.category_of(kind) for kind in plan.types})
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, each: Labelled, files: Files, sink: Sink) -> None:
        assert files.shape is not None  # images of unknown size were left out
        if files.image is not None:
            sink.add(f"{coco.IMAGES}/{each.file_name}", files.image)
        masks = {file: read_mask(content, name=file) for file, content in files.masks.items()}
        number = len(self._images) + 1
        self._images.append(coco.image_entry(each, number=number, shape=files.shape, masks=masks))
        if each.item.label == "defect" and each.item.mask_file is not None:
            category = self._categories.index(coco.category_of(each.item.defect_type)) + 1
            for entry in coco.annotation_entries(
                masks[each.item.mask_file],
                image=number,
                category=category,
                segmentation=self._plan.options.segmentation,
            ):
                self._annotations.append({"id": len(self._annotations) + 1, **entry})

    def close(self, sink: Sink) -> None:
        content = coco.document_bytes(
            about={"dataset": self._plan.wanted.dataset, "class": self._plan.wanted.class_name},
            images=self._images,
            annotations=self._annotations,
            categories=self._categories,
        )
        sink.add(coco.TABLE, content)


def _files_of(each: Labelled, *, copied: bool, sized: bool) -> Files:
    """Read and check the files of an image.

    Raises:
        DataError: one is gone, was changed, is damaged, or is of another size than the image.
    """
    image = _image_of(each.item) if copied else None
    files = dict.fromkeys(one.mask for one in each.history if isinstance(one.mask, str))
    shape = _shape_of(each.item, image) if sized or files else None
    return Files(image, shape, {file: _mask_of(file, shape) for file in files})


def _image_of(item: QueueItem) -> bytes:
    path = stored_path(item.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); put it back") from error
    if content_hash(content) != item.digest:
        raise ImageError(f"{path} was changed since it was labelled; put it back as it was")
    return content


def _shape_of(item: QueueItem, image: bytes | None) -> tuple[int, int]:
    """Height and width; from the file, where they were not stored yet."""
    if item.height is not None and item.width is not None:
        return item.height, item.width
    width, height = image_size(stored_path(item.file) if image is None else image)
    return height, width


def _mask_of(file: str, shape: tuple[int, int] | None) -> bytes:
    try:
        content = stored_path(file).read_bytes()
    except OSError as error:
        raise ImageError(f"the mask {file} cannot be read ({error.strerror}); draw it again") from error
    width, height = image_size(content)
    if shape is not None and (height, width) != shape:
        raise DataError(f"the mask {file} has {width} x {height} pixels, the image {shape[1]} x {shape[0]}")
    return content
