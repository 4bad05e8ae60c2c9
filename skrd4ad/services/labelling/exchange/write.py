"""Writing an export: one image at a time into a folder or a ZIP file; the tables of labels come last.

The same labels make the same bytes.
"""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from skrd4ad.data.images.read import image_size, read_mask
from skrd4ad.digests import content_digest
from skrd4ad.errors import DataError, ImageError
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.paths import read_regular
from skrd4ad.services.access import needs
from skrd4ad.services.labelling.exchange.formats import coco, csv_format, cvat, label_studio, mvtec, yolo
from skrd4ad.services.labelling.exchange.formats.collect import UNTYPED, means_good
from skrd4ad.services.labelling.exchange.plan import ExportPlan
from skrd4ad.services.labelling.exchange.records import ExportImage, Problem
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.label_queue import QueueItem
from skrd4ad.task import QUIET, Task

IMAGES, MASKS, OLD_MASKS = "images", "masks", "history_masks"
_ZIP_START = (1980, 1, 1, 0, 0, 0)
_PACKED_WELL = (".csv", ".json", ".xml", ".txt")

Sink = Callable[[str, bytes], None]
"""Takes a file of an export: its path with ``/`` below the folder or inside the ZIP file, and its content."""


@dataclass(frozen=True)
class _Files:
    """The files behind an image to export, read and checked."""

    image: bytes | None
    shape: tuple[int, int] | None
    masks: Mapping[str, bytes]
    """PNG files by their paths below the workspace folder: all of the history."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote."""

    images: int
    masks: int
    """Masks that hold now; those of earlier revisions are not counted."""
    left_out: tuple[Problem, ...]
    """Images whose files turned out to be changed, damaged or gone while they were read."""


@needs("engineer", "export labels")
def folder_sink(folder: Path) -> Sink:
    """Writes below a folder that exists; raises a ``DataError`` when that fails."""

    def add(name: str, content: bytes) -> None:
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error

    return add


def zip_sink(archive: zipfile.ZipFile) -> Sink:
    """Writes into a ZIP file that is open; images are packed already and only stored."""

    def add(name: str, content: bytes) -> None:
        info = zipfile.ZipInfo(name, _ZIP_START)
        info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(_PACKED_WELL) else zipfile.ZIP_STORED
        info.external_attr = 0o644 << 16
        try:
            archive.writestr(info, content)
        except OSError as error:
            raise DataError(f"The ZIP file cannot be written: {error.strerror or error}.") from error

    return add


def write_export(plan: ExportPlan, sink: Sink, *, task: Task = QUIET) -> Exported:
    """Write an export. An image whose files cannot be used is left out and named; nothing else is lost for it."""
    format = plan.options.format
    tabled = format in ("mvtec", "csv")
    writer = _CocoWriter(plan) if format == "coco" else _TableWriter(plan) if tabled else _ToolWriter(plan)
    left_out: list[Problem] = []
    masks = 0
    for done, image in enumerate(plan.images, start=1):
        try:
            files = _files_of(image, copied=plan.options.images, sized=not tabled)
        except DataError as error:
            left_out.append(Problem(image.item.name, str(error)))
        else:
            writer.add(image, files, sink)
            masks += image.item.mask_file is not None
        task.report(done, len(plan.images))
    writer.close(sink)
    return Exported(images=len(plan.images) - len(left_out), masks=masks, left_out=tuple(left_out))


class _TableWriter:
    """The MVTec layout, and CSV: both are tables, and differ in where the images are."""

    def __init__(self, plan: ExportPlan) -> None:
        self._model = plan.wanted.model_digest
        self._class_folder = folder_name(plan.wanted.class_name) if plan.options.format == "mvtec" else None
        self._labels: list[dict[str, object]] = []
        self._history: list[dict[str, object]] = []
        self._written: set[str] = set()

    def add(self, image: ExportImage, files: _Files, sink: Sink) -> None:
        path, mask_path = self.paths_of(image)
        if files.image is not None:
            sink(path, files.image)
        old = {file: f"{OLD_MASKS}/{PurePosixPath(file).name}" for file in files.masks}
        for file, name in old.items():
            if name not in self._written:
                self._written.add(name)
                sink(name, files.masks[file])
        mask = ""
        if image.item.mask_file is not None:
            mask = mask_path or old[image.item.mask_file]
            if mask not in self._written:
                sink(mask, files.masks[image.item.mask_file])
        self._labels.append(csv_format.label_row(image, file=path, mask=mask, model=self._model))
        self._history += csv_format.history_rows(image, old)

    def paths_of(self, image: ExportImage) -> tuple[str, str | None]:
        """Where an image and its mask are in the export."""
        if self._class_folder is not None:
            return mvtec.export_paths(image, class_folder=self._class_folder)
        return f"{IMAGES}/{image.file_name}", f"{MASKS}/{PurePosixPath(image.file_name).stem}_mask.png"

    def close(self, sink: Sink) -> None:
        sink(csv_format.LABELS, csv_format.table_bytes(csv_format.COLUMNS, self._labels))
        sink(csv_format.HISTORY, csv_format.table_bytes(csv_format.HISTORY_COLUMNS, self._history))


class _ToolWriter(_TableWriter):
    """The file of another tool, which tells what holds, beside the tables, which tell all."""

    def __init__(self, plan: ExportPlan) -> None:
        super().__init__(plan)
        self._format = plan.options.format
        self._types = sorted({_category(kind) for kind in plan.types})
        self._done: list[Any] = []
        """Images as the file of the tool holds them; of YOLO, which has a text for each, their splits."""

    def paths_of(self, image: ExportImage) -> tuple[str, str | None]:
        path, mask = super().paths_of(image)
        if self._format == "yolo":
            path = f"{IMAGES}/{image.split}/{image.file_name}" if image.split else f"unsure/{image.file_name}"
        return path, mask

    def add(self, image: ExportImage, files: _Files, sink: Sink) -> None:
        super().add(image, files, sink)
        item, shape, number = image.item, files.shape, len(self._done) + 1
        assert shape is not None  # images of unknown size were left out
        label = _category(item.defect_type) if item.label == "defect" else item.label
        mask = None
        if item.label == "defect" and item.mask_file is not None:
            mask = read_mask(files.masks[item.mask_file], name=item.mask_file)
        if self._format == "cvat":
            subset = image.split or "unsure"
            self._done.append(cvat.image_element(number, image.file_name, shape, label=label, mask=mask, subset=subset))
        elif self._format == "label-studio":
            self._done.append(label_studio.task(number, self.paths_of(image)[0], shape, label=label, mask=mask))
        elif item.label == "good" or mask is not None:  # an empty text says that a part is good
            lines = "" if mask is None else yolo.label_lines(mask, self._types.index(label))
            stem = PurePosixPath(image.file_name).stem
            sink(f"{yolo.LABELS}/{image.split}/{stem}.txt", lines.encode())
            self._done.append(image.split)

    def close(self, sink: Sink) -> None:
        super().close(sink)
        if self._format == "cvat":
            sink(cvat.TABLE, cvat.document_bytes(self._done, [*self._types, "good", "unsure"]))
        elif self._format == "label-studio":
            sink(label_studio.TABLE, label_studio.document_bytes(self._done))
        else:
            sink(yolo.TABLE, yolo.document_bytes(self._types, self._done))


def _category(kind: str | None) -> str:
    """Name of a type of defect that nobody takes for good parts."""
    return UNTYPED if kind is None else f"{UNTYPED}_{kind}" if means_good(kind) else kind


class _CocoWriter:
    """COCO: everything but the images is in one file."""

    def __init__(self, plan: ExportPlan) -> None:
        self._plan = plan
        self._categories = sorted({kind or UNTYPED for kind in plan.types})
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, image: ExportImage, files: _Files, sink: Sink) -> None:
        assert files.shape is not None  # images of unknown size were left out
        if files.image is not None:
            sink(f"{IMAGES}/{image.file_name}", files.image)
        masks = {file: read_mask(content, name=file) for file, content in files.masks.items()}
        number = len(self._images) + 1
        self._images.append(coco.image_entry(image, number=number, shape=files.shape, masks=masks))
        if image.item.label == "defect" and image.item.mask_file is not None:
            category = self._categories.index(image.item.defect_type or UNTYPED) + 1
            regions = coco.annotation_entries(masks[image.item.mask_file], self._plan.options.segmentation)
            for annotation, region in enumerate(regions, start=len(self._annotations) + 1):
                ids = {"id": annotation, "image_id": number, "category_id": category}
                self._annotations.append({**ids, **region})

    def close(self, sink: Sink) -> None:
        content = coco.document_bytes(
            about={"dataset": self._plan.wanted.dataset, "class": self._plan.wanted.class_name},
            images=self._images,
            annotations=self._annotations,
            categories=self._categories,
        )
        sink(coco.TABLE, content)


def _files_of(image: ExportImage, *, copied: bool, sized: bool) -> _Files:
    """Read and check the files of an image."""
    content = _content_of(image.item) if copied else None
    masks = dict.fromkeys(revision.mask_file for revision in image.history if revision.mask_file is not None)
    shape = None
    if sized or masks:
        width, height = image.item.width, image.item.height
        if width is None or height is None:
            width, height = image_size(stored_path(image.item.file) if content is None else content)
        shape = (height, width)
    return _Files(content, shape, {file: _mask_content(file, shape) for file in masks})


def _content_of(item: QueueItem) -> bytes:
    path = stored_path(item.file)
    try:
        content = read_regular(path)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); put it back") from error
    if content_digest(content) != item.digest:
        raise ImageError(f"{path} was changed since it was labelled; put it back as it was")
    return content


def _mask_content(file: str, shape: tuple[int, int] | None) -> bytes:
    try:
        content = read_regular(stored_path(file))
    except OSError as error:
        raise ImageError(f"the mask {file} cannot be read ({error.strerror}); draw it again") from error
    width, height = image_size(content)
    if shape is not None and (height, width) != shape:
        raise DataError(f"the mask {file} has {width} x {height} pixels, the image {shape[1]} x {shape[0]}")
    return content
