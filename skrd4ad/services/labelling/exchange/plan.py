"""What an export will hold: which images of a class, where each goes, and which are left out and why."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from skrd4ad.data.images.read import is_image
from skrd4ad.data.layouts.masks import split_ending
from skrd4ad.errors import ConfigError
from skrd4ad.paths import open_regular
from skrd4ad.services.inspection.input_files import distinct
from skrd4ad.services.labelling.exchange.formats.coco import Segmentation
from skrd4ad.services.labelling.exchange.records import WRITTEN, ExportImage, Format
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.annotations import Label
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import histories_of_class
from skrd4ad.storage.label_queue import QueueFilter, QueueItem, queue_page
from skrd4ad.types import Split

TEST_SHARE = 0.2
"""Share of the good images for testing, where the data set does not say."""
_MOST = 10**9
_LONGEST_STEM = 100
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_STARTS = ((b"\xff\xd8", ".jpg"), (b"BM", ".bmp"), (b"II", ".tif"), (b"MM", ".tif"), (b"RIFF", ".webp"))


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported, and how."""

    format: Format
    segmentation: Segmentation = "rle"
    images: bool = True
    """Whether the images themselves are copied; the MVTec layout always does."""
    unsure: bool = False
    test_share: float = TEST_SHARE

    def __post_init__(self) -> None:
        problems = []
        if self.format not in WRITTEN:
            problems.append(f"The format is {self.format!r}; allowed: {', '.join(WRITTEN)}.")
        if self.segmentation not in ("rle", "polygons"):
            problems.append(f"The segmentation is {self.segmentation!r}; allowed: rle, polygons.")
        if not 0 <= self.test_share < 1:
            problems.append(f"The share for testing is {self.test_share}; allowed: from 0 to under 1.")
        if self.format == "mvtec" and not self.images:
            problems.append("The MVTec layout is made of the images; without them choose COCO or CSV.")
        if problems:
            raise ConfigError("\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What an export will hold, before anything is written."""

    wanted: QueueFilter
    options: ExportOptions
    images: tuple[ExportImage, ...]
    unsure: int
    undecided: int
    missing: tuple[str, ...]
    size: int
    """Bytes of the images, when these are copied."""

    def count(self, label: Label, split: Split | None = None) -> int:
        """Images of a label, of one side when it is given."""
        return sum(each.item.label == label and split in (None, each.split) for each in self.images)

    @property
    def types(self) -> Counter[str | None]:
        """Defects by their types."""
        return Counter(each.item.defect_type for each in self.images if each.item.label == "defect")

    @property
    def masks(self) -> int:
        """Images with a mask."""
        return sum(each.item.mask_file is not None for each in self.images)

    @property
    def without_mask(self) -> int:
        """Defects without a mask."""
        return sum(each.item.label == "defect" and each.item.mask_file is None for each in self.images)


def plan_export(wanted: QueueFilter, options: ExportOptions) -> ExportPlan:
    """What an export of the images of a class under a filter will hold; the same labels give the same plan."""
    with workspace_database().read() as session:
        items = queue_page(session, wanted, order="newest", limit=_MOST)
        histories = histories_of_class(session, dataset=wanted.dataset, class_name=wanted.class_name)
    exported = ("good", "defect", "unsure") if options.unsure else ("good", "defect")
    there: list[QueueItem] = []
    missing: list[QueueItem] = []
    size = 0
    for item in sorted((each for each in items if each.label in exported), key=lambda each: (each.name, each.digest)):
        path = stored_path(item.file)
        try:
            found = not options.images or path.is_file()
            size += path.stat().st_size if options.images and found else 0
        except OSError:
            found = False
        (there if found else missing).append(item)
    splits = _splits(there, options.test_share)
    # the stem of a file name is that of no other, as masks are found by it
    names = [_split_name(item) for item in there]
    stems = distinct(stem for stem, _ in names)
    images = tuple(
        ExportImage(
            item=item,
            file_name=stem + suffix,
            split=splits.get(item.digest),
            history=tuple(histories.get(item.digest, ())),
        )
        for item, stem, (_, suffix) in zip(there, stems, names, strict=True)
    )
    labels = Counter(item.label for item in items)
    return ExportPlan(
        wanted=wanted,
        options=options,
        images=images,
        unsure=0 if options.unsure else labels["unsure"],
        undecided=labels["none"],
        missing=tuple(item.name for item in missing),
        size=size,
    )


def _splits(items: Sequence[QueueItem], share: float) -> dict[str, Split]:
    """On which side each image stands. Defects are for testing. Good images stay where the data set has them; the
    others are split by their content, so that none changes sides when more are labelled."""
    splits: dict[str, Split] = {item.digest: "test" for item in items if item.label == "defect"}
    good = [item for item in items if item.label == "good"]
    splits |= {item.digest: cast(Split, item.split) for item in good if item.split in ("train", "test")}
    free = sorted(item.digest for item in good if item.digest not in splits)
    for digest in free:
        splits[digest] = "test" if int(digest[:8], 16) < share * 2**32 else "train"
    sides = {splits[item.digest] for item in good}
    if share > 0 and len(good) > 1 and free and len(sides) == 1:
        # chance gave all of a few to one side: the nearest to the limit goes to the other
        only = sides.pop()
        splits[free[0] if only == "train" else free[-1]] = "test" if only == "train" else "train"
    return splits


def _split_name(item: QueueItem) -> tuple[str, str]:
    """Stem and suffix of a file name that every system can have."""
    path = PurePosixPath(item.name.replace("\\", "/").rpartition("/")[2] or "image")
    known = is_image(Path(f"x{path.suffix}"))
    suffix = path.suffix if known else _suffix_by_content(stored_path(item.file))
    stem = _UNSAFE.sub("_", path.stem if known else path.name).strip(". ")[:_LONGEST_STEM] or "image"
    # a stem that ends like that of a mask would be taken for the mask of another image
    return (f"{stem}-image" if split_ending(stem)[1] else stem), suffix


def _suffix_by_content(path: Path) -> str:
    try:
        with open_regular(path) as stream:
            start = stream.read(4)
    except OSError:
        start = b""
    return next((suffix for begins, suffix in _STARTS if start.startswith(begins)), ".png")
