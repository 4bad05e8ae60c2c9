"""What the readers of all formats share: where an image is, and what its labelled regions say of it."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import gcd
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import MAX_PIXELS, is_image
from skrd4ad.data.layouts.folders import GOOD_WORDS, plain_name
from skrd4ad.errors import DataError
from skrd4ad.format import plural
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.records import (
    DrawnMask,
    Format,
    ImportEntry,
    Location,
    MaskSource,
    ParsedLabels,
    Problem,
    Shape,
)
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.storage.annotations import Revision

UNTYPED = "defect"
"""Category of defects without a type."""
IMAGES = "images"
_FARTHEST = 1e7
"""Coordinates beyond this are of no image."""
_FEW = 3
"""Pixels by which an area may differ from what its file says, for rounding."""
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""


def means_good(category: str) -> bool:
    """Whether a category of a labelling tool means good parts."""
    return plain_name(category) in GOOD_WORDS | {"background"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """A labelled region of an image; without runs and polygons a box, a point, or a label of the whole image."""

    category: str
    runs: tuple[NDArray[np.int64], ...] = ()
    polygons: tuple[NDArray[np.float64], ...] = ()
    area: float = 0.0
    """In pixels, as far as the file tells or it can be told."""
    told: float | None = None
    """Area as the file says."""
    whole: bool = False
    """It says something of the image, not of a place in it."""

    @property
    def is_good(self) -> bool:
        """Whether it marks a good part."""
        return means_good(self.category)


class Collector:
    """Collects images with decisions, masks, problems and remarks while files are read."""

    def __init__(self, bundle: Bundle, *, empty_is_good: bool = False, through_centres: bool = False) -> None:
        self.bundle = bundle
        self._empty_is_good = empty_is_good
        self._through_centres = through_centres
        self.entries: list[ImportEntry] = []
        self.masks: dict[str, MaskSource] = {}
        self.problems: list[Problem] = []
        self.remarks: Counter[str] = Counter()
        """What was left out or understood in a certain way, and of how many images."""
        self.notes: list[str] = []
        self._centred: list[tuple[float, float]] = []
        """Area inside, and area as the file says, of polygons that seem to run through the middles of pixels."""
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in bundle.files:
            self._names[PurePosixPath(name).name].append(name)

    def parsed(self, format: Format) -> ParsedLabels:
        """All that was collected."""
        notes = [*self.notes, *(f"{plural(count, 'image')} {what}." for what, count in self.remarks.items())]
        if self._centred:
            inside, told = self._centred[0]
            count = len(self._centred)
            notes.append(
                f"{plural(count, 'polygon')} clearly smaller than the file says, the first has {inside:g} of {told:g} "
                "pixels. They seem to run through the middles of pixels, as OpenCV and supervision trace them: read "
                "them so (--pixel-centres) to lose nothing of thin defects."
            )
        return ParsedLabels(
            format=format,
            entries=tuple(self.entries),
            masks=self.masks,
            problems=tuple(self.problems),
            notes=tuple(notes),
        )

    def add(
        self,
        *,
        where: str,
        named: str,
        table: str,
        regions: Sequence[Region],
        shape: Shape | None = None,
        relative: bool = False,
        hints: Sequence[str] = (),
        location: Location | None = None,
    ) -> None:
        """An image with its regions; what is wrong with it becomes a problem.

        ``table`` is the file that names it, ``hints`` are folders that its path is likely to have; neither matters
        where its ``location`` is known.
        """
        try:
            named = fields.text_of(named, "its name").strip()
            if not named:
                raise DataError("it names no image")
            if not regions and not self._empty_is_good:
                self.leave_empty()
                return
            location = location or self.locate(named, table, hints=hints)
            latest = self.decision(regions, shape, relative=relative) if regions else Revision(label="good")
            name = PurePosixPath(posix_name(named) if location is None else location).name
            if location is None:
                name = _UPLOADED.sub("", name, count=1)
            entry = ImportEntry(
                where=where, named=named, location=location, digest="", name=name, latest=latest, shape=shape
            )
            self.entries.append(entry)
        except DataError as error:
            self.problems.append(Problem(where, str(error)))

    def leave_empty(self) -> None:
        """Note an image of which the file says nothing."""
        self.remarks["without annotations: left out; they can be taken as good parts"] += 1

    def decision(
        self, regions: Sequence[Region], shape: Shape | None, *, relative: bool = False, own: bool = False
    ) -> Revision:
        """What regions say: good, unsure, or a defect of the type that covers the largest area, with the union of all
        defects as its mask. ``own``: this program wrote them, so all are defects, whatever their types are called."""
        words = {region.category.strip().casefold() for region in regions}
        if words == {"unsure"} and all(region.whole for region in regions):
            return Revision(label="unsure")
        defects = [region for region in regions if own or not region.is_good]
        if not defects:
            names = " and ".join(sorted({region.category for region in regions}))
            self.remarks[f"marked as {names} alone: taken as good parts"] += 1
            return Revision(label="good")
        if len(defects) < len(regions):
            self.remarks["with defects beside what means good: the latter was left out"] += 1
        drawn = [region for region in defects if not region.whole]
        areas: dict[str, float] = defaultdict(float)
        for region in drawn or defects:
            areas[fields.type_of(region.category) or UNTYPED] += region.area
        if len(areas) > 1:
            self.remarks["with several types of defect: the one with the largest area was taken"] += 1
        category = max(areas, key=areas.__getitem__)
        mask = None
        if drawn and all(region.runs or region.polygons for region in drawn):
            mask = self.mask(drawn, shape, relative=relative)
        elif drawn:  # a box is no mask, and a mask that lacks a defect would be measured as if the rest were good
            self.remarks["with boxes, lines or points but no mask: taken as defects without a mask"] += 1
        return Revision(label="defect", defect_type=category, mask_file=mask)

    def mask(self, regions: Sequence[Region], shape: Shape | None, *, relative: bool = False) -> str:
        """Name of the union of regions, which is added to ``masks``."""
        for region in regions if not (relative or self._through_centres) else ():
            self._look_for_centres(region)
        name = f"segmentation {len(self.masks)}"
        self.masks[name] = DrawnMask(
            shape=shape,
            runs=tuple(runs for region in regions for runs in region.runs),
            polygons=tuple(polygon for region in regions for polygon in region.polygons),
            relative=relative,
            through_centres=self._through_centres,
        )
        return name

    def _look_for_centres(self, region: Region) -> None:
        """Note a region whose polygons cover clearly less than the file says, and as much if their edges count."""
        if region.runs or not region.polygons:
            return
        inside = sum(map(area_inside, region.polygons))
        lattice = sum(map(area_with_edges, region.polygons))
        told = region.told if region.told else lattice if inside == 0 else 0.0
        if told - inside > max(_FEW, 0.1 * told) and abs(lattice - told) < abs(inside - told):
            self._centred.append((inside, told))

    def locate(self, named: str, table: str, *, hints: Sequence[str] = ()) -> Location | None:
        """Where an image is: beside the file that names it, in ``images`` beside it or its folder, or wherever the only
        one of that name lies.

        Raises:
            DataError: several could be meant, or it is outside the folders that may be read.
        """
        path, outside = posix_name(named), None
        for usual in (path, f"{IMAGES}/{path}", f"../{IMAGES}/{path}"):
            try:
                found = self.bundle.find(usual, beside=table)
            except DataError as error:  # outside the folders that may be read
                outside = outside or (error if usual == path else None)
                continue
            if found is not None:
                return found
        name = PurePosixPath(path).name
        candidates = self._names.get(name) or self._names.get(_UPLOADED.sub("", name, count=1), [])
        # the longest ending of the path that is there, and then the folders that the file hints at
        parts = PurePosixPath(path).parts
        for length in range(len(parts), 1, -1):
            ending = "/".join(parts[-length:])
            if longer := [each for each in candidates if each.endswith(f"/{ending}")]:
                candidates = longer
                break
        wanted = {hint.casefold() for hint in hints if hint}
        if len(candidates) > 1:
            hinted = [each for each in candidates if wanted & {part.casefold() for part in PurePosixPath(each).parts}]
            candidates = hinted or candidates
        if len(candidates) > 1:
            raise DataError(f"{named} may be {' or '.join(sorted(candidates)[:3])}; give paths that tell them apart")
        if candidates:
            location = self.bundle.files[candidates[0]]
            return None if isinstance(location, bytes) else location
        if outside is not None and not re.search(r"\.\.[\\/]|^/?(data|upload)[\\/]", named):
            raise outside
        return None


def posix_name(named: str) -> str:
    """A path with ``/``, of an address, of Label Studio's local files, or of Windows."""
    address = urlsplit(named) if "://" in named or named.startswith("/data/local-files/") else None
    if address is not None:
        with suppress(LookupError):
            return unquote(parse_qs(address.query)["d"][0])
        return unquote(address.path).lstrip("/")
    return named.replace("\\", "/")


def hints_of(table: str) -> list[str]:
    """Folders that the images of a file are likely in: ``Train`` for ``instances_Train.json`` and ``Train.json``."""
    stem = PurePosixPath(table).stem
    return [stem, stem.partition("_")[2]]


def image_by_stem(bundle: Bundle) -> dict[str, list[str]]:
    """Names of images by their path without suffix."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in bundle.files:
        if is_image(Path(name)):
            found[str(PurePosixPath(name).with_suffix(""))].append(name)
    return found


def shape_of(height: object, width: object) -> Shape:
    """The size of an image as a file gives it."""
    sides = [each for each in (height, width) if isinstance(each, int) and not isinstance(each, bool) and each > 0]
    if len(sides) != 2 or sides[0] * sides[1] > MAX_PIXELS:
        raise DataError(
            f"height and width are {height!r:.30} and {width!r:.30}; allowed: whole numbers, up to {MAX_PIXELS} pixels"
        )
    return sides[0], sides[1]


def polygon_of(values: object) -> NDArray[np.float64]:
    """(N, 2) corners from a flat list of numbers x, y, x, y, …"""
    numbers = listed(values, "a polygon")
    if len(numbers) < 6 or len(numbers) % 2 or not all(map(is_number, numbers)):
        raise DataError("a polygon has something else than pairs x, y of at least three corners")
    return np.array(numbers, np.float64).reshape(-1, 2)


def polygon_region(category: str, corners: NDArray[np.float64], *, told: float | None = None) -> Region:
    """A region inside one polygon."""
    return Region(category=category, polygons=(corners,), area=told or area_inside(corners), told=told)


def ellipse(x: float, y: float, rx: float, ry: float, *, degrees: float = 0.0) -> NDArray[np.float64]:
    """(N, 2) corners of an ellipse around x, y, turned clockwise on the screen."""
    turn = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    angle = np.deg2rad(degrees)
    across, down = rx * np.cos(turn), ry * np.sin(turn)
    return np.stack(
        [x + across * np.cos(angle) - down * np.sin(angle), y + across * np.sin(angle) + down * np.cos(angle)], axis=1
    )


def area_inside(corners: NDArray[np.float64]) -> float:
    """Area within a polygon (N, 2)."""
    (x, y), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    return abs(float((x * y1 - x1 * y).sum())) / 2


def area_with_edges(corners: NDArray[np.float64]) -> float:
    """Number of points with whole coordinates in a polygon (N, 2) and on its edges, by Pick's theorem; its area where
    its corners are no such points."""
    inside = area_inside(corners)
    whole = np.rint(corners).astype(int)
    if np.abs(corners - whole).max() > 1e-6:
        return inside
    steps = np.abs(np.roll(whole, -1, axis=0) - whole).tolist()
    return inside + sum(gcd(dx, dy) for dx, dy in steps) / 2 + 1


def listed(value: object, what: str) -> list[Any]:
    """A list; empty for nothing."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{what} is {value!r:.60}; allowed: a list")
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that a coordinate can have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FARTHEST


def number_of(value: object, what: str) -> float:
    """A number, also as text."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not is_number(number):
        raise DataError(f"{what} is {value!r:.60}; allowed: a number")
    return number
