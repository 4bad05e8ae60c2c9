"""What an exported model says of itself: ``manifest.json`` beside its files, and the same facts inside them."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from skrd4ad import documents
from skrd4ad.digests import remembered_digest
from skrd4ad.documents import Count, Positive, StoredSize
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.files import FileEntry
from skrd4ad.model_folder.calibration import Calibration, this_moment
from skrd4ad.types import Alignment, Levels, height_width

MANIFEST = "manifest.json"
FORMAT = 1
EXPORTS = "exports"
"""Folder of the exports in a model folder."""

GRAPH_VERSION = 4
"""Grows when a graph computes something else than before, so that conversions that were kept are made anew."""
INPUT = "images"
VERDICT_OUTPUTS = ("score", "map")
SCORING_OUTPUTS = ("score", "map", "levels", "embedding")

Format = Literal["onnx", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: dict[Format, tuple[Precision, ...]] = {
    "onnx": ("fp32", "fp16"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
}
"""By format: fp16 are weights stored in 16 bits and computed with in 32, bf16 is computed in bf16 where the processor
can, int8 has quantised convolutions. The last two are made for OpenVINO only."""
LARGEST_BATCH = 256

_MEANING = {
    "score": "(N,) float32: highest value of the map; raw, as everywhere in this program",
    "map": "(N, {sides}) float32: anomaly map, 0 where the calibration ignores the image",
    "levels": "(N, L, {sides}) float32: one map a feature level, finest first, before the blur",
    "embedding": "(N, C) float32: mean of the teacher's coarsest features",
    **{f"f{level}": "(N, C, h, w) float32: the teacher's features, finest level first" for level in (1, 2, 3)},
    **{f"g{level}": "(N, C, h, w) float32: the restored features" for level in (1, 2, 3)},
}


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What an export is to be."""

    format: Format = "onnx"
    precision: Precision = "fp32"
    batch: int | None = None
    """Images in one call; None for any number."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS.get(self.format, ()):
            allowed = "; ".join(f"{name} in {', '.join(precisions)}" for name, precisions in PRECISIONS.items())
            raise ConfigError(f"The export is {self.format!r} in {self.precision!r}; allowed: {allowed}.")
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise ConfigError(
                f"The batch is {self.batch!r}; allowed: 1 to {LARGEST_BATCH} images in one call, or any number."
            )

    @property
    def name(self) -> str:
        """Such as ``openvino-int8-batch1``; a folder's name."""
        return f"{self.format}-{self.precision}-{'any' if self.batch is None else f'batch{self.batch}'}"

    @property
    def main_file(self) -> str:
        """Name of the file that a runtime opens."""
        return "model.onnx" if self.format == "onnx" else "model.xml"


@dataclass(frozen=True, kw_only=True)
class ExportLimits:
    """The calibration that an export was made with."""

    image_threshold: float
    review_threshold: float | None
    pixel_threshold: float
    heat_top: float
    min_area: Positive
    """Pixels of the map. From 2 on the score output is not the score: that is the highest level at which an
    8-connected region of the map has so many pixels, and has to be taken from the map."""
    ignored_pixels: Count
    """Of the map; they are 0 there."""
    calibration: int
    created_at: str
    who: str
    method: str
    data: str
    test_fitted: bool

    @staticmethod
    def of(calibration: Calibration, *, ignored_pixels: int) -> "ExportLimits":
        """Limits of a calibration."""
        return ExportLimits(
            image_threshold=calibration.image_threshold,
            review_threshold=calibration.review_threshold,
            pixel_threshold=calibration.pixel_threshold,
            heat_top=calibration.heat_top,
            min_area=calibration.min_area,
            ignored_pixels=ignored_pixels,
            calibration=calibration.version,
            created_at=calibration.created_at,
            who=calibration.who,
            method=calibration.method,
            data=calibration.data,
            test_fitted=calibration.test_fitted,
        )


@dataclass(frozen=True, kw_only=True)
class ExportManifest:
    """What an exported model is, and the digests of its files."""

    settings: ExportSettings
    image_size: StoredSize
    outputs: tuple[str, ...]
    model: dict[str, Any]
    """Where it came from: dataset, class, run, net, res, digest, teacher_digest."""
    limits: ExportLimits | None
    """None when the model has no calibration: scores without verdicts."""
    levels: Levels | None = None
    """Black and white of images above 8 bit; None for their full range."""
    alignment: Alignment | None = None
    """How photographs are cropped and turned to the part before; None where the whole image is resized."""
    quantisation: dict[str, Any] | None = None
    """Of int8: tool, images, and the digest over their contents."""
    environment: dict[str, str] = field(default_factory=dict)
    made_at: str = field(default_factory=this_moment)
    graph_version: Count | None = None
    """:data:`GRAPH_VERSION` of the build that made it; None in exports of before it was noted."""
    files: dict[str, FileEntry] = field(default_factory=dict)

    @property
    def min_area(self) -> int:
        """Pixels of the map that a region needs to count."""
        return 1 if self.limits is None else self.limits.min_area

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form, with words for those who use the export without this program."""
        height, width = height_width(self.image_size)
        sides = "S, S" if height == width else "H, W"
        return {
            "manifest_format": FORMAT,
            **documents.to_plain(self.settings),
            "image_size": documents.to_plain(self.image_size),
            "input": {
                "name": INPUT,
                "type": "uint8",
                "layout": "NHWC",
                "shape": [self.settings.batch or "N", height, width, 3],
                "colours": "RGB, 0 to 255, as decoded; normalising is inside",
                "resizing": f"outside: the whole image to {height} x {width}, aspect ratio given up, bilinear with "
                "antialiasing (Pillow's BILINEAR)"
                if self.alignment is None
                else f"outside: cropped and turned to the part, {height} x {width}, by aligned() of find_part.py",
            },
            "outputs": {name: _MEANING[name].format(sides=sides) for name in self.outputs},
            "compile": compile_properties(self.settings.format, self.settings.precision),
            "model": self.model,
            "limits": documents.to_plain(self.limits),
            **({} if self.levels is None else {"levels": documents.to_plain(self.levels)}),
            **({} if self.alignment is None else {"alignment": documents.to_plain(self.alignment)}),
            "quantisation": self.quantisation,
            "environment": self.environment,
            "made_at": self.made_at,
            **({} if self.graph_version is None else {"graph_version": self.graph_version}),
            "files": documents.to_plain(self.files),
        }

    def facts(self) -> str:
        """JSON that goes into the model file itself: all but the digests of the files."""
        values = self.to_plain()
        del values["files"]
        return json.dumps(values, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported model on disk."""

    folder: Path
    manifest: ExportManifest

    @property
    def main_file(self) -> Path:
        """File that a runtime opens."""
        return self.folder / self.manifest.settings.main_file


def read_export(folder: Path) -> Export:
    """An export by its folder; its files are not looked into.

    Raises:
        CheckpointError: this is no export, or its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        raise CheckpointError(f"{folder} is no export: it has no {MANIFEST}. `skrd4ad export` makes one.")
    values = documents.read_values(folder / MANIFEST)
    # in the file the settings stand at the top, and the names of the outputs are keys
    values["settings"] = {each.name: values.pop(each.name) for each in fields(ExportSettings) if each.name in values}
    values["outputs"] = list(outputs) if isinstance(outputs := values.get("outputs"), dict) else outputs
    values["format"] = values.pop("manifest_format", None)
    what, left_out = str(folder / MANIFEST), ("input", "compile")
    remedy = "Export the model again."
    manifest = documents.decode(values, ExportManifest, what=what, format=FORMAT, ignore=left_out, remedy=remedy)
    return Export(folder=folder.absolute(), manifest=manifest)


def free_folder(parent: Path, name: str) -> Path:
    """The first of ``name``, ``name-2``, … that is not in a folder."""
    names = (name, *(f"{name}-{n}" for n in range(2, 1000)))
    return next(parent / each for each in names if not (parent / each).exists())


def require_intact(export: Export) -> None:
    """Compare the files of an export with its manifest.

    Raises:
        CheckpointError: one is missing or was changed; it is named.
    """
    files = export.manifest.files
    if export.manifest.settings.main_file not in files:
        raise CheckpointError(f"The manifest of {export.folder} names no model file; export the model again.")
    for name, entry in files.items():
        if remembered_digest(export.folder / Path(name).name) != entry.sha256:
            raise CheckpointError(
                f"{export.folder / name} was changed or damaged after it was written; export the model again."
            )


def compile_properties(format: Format, precision: Precision) -> dict[str, str]:
    """What OpenVINO must be told when it compiles a model: left alone, it computes fp32 in bf16 where it can."""
    if format == "onnx":
        return {}
    return {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
