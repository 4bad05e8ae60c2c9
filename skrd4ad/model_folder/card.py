"""The card of a model, in Markdown, for people."""

from typing import Any

from skrd4ad.config import ModelConfig
from skrd4ad.format import METRIC_TITLES
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.types import height_width


def model_card(info: ModelInfo, *, name: str = "", note: str = "") -> str:
    """Markdown text: what the model is, what it was trained on, how it is calibrated, what was measured."""
    parts = [
        f"# {_one_line(info.class_name)} ({_one_line(info.dataset)})",
        *([f"Name: {_one_line(name)}"] if name.strip() else []),
        *([f"Note: {_one_line(note)}"] if note.strip() else []),
        f"SK-RD4AD, teacher {info.model.net}, {info.model.skips} skip connections, "
        f"{'{}x{}'.format(*height_width(info.model.image_size))} pixels; {info.origin}, {info.created_at}.",
        *(["**First look: the memory bank alone decides, before the student learns.**"] if info.first_look else []),
        f"Anomaly map. {map_text(info.model)}",
        "## Data",
        _table(_data_rows(info)),
        "## Training",
        _table(_training_rows(info)),
        "## Thresholds",
        _calibration_text(info),
        "## Measured",
        _metrics_text(info),
        "## Weights",
        f"`model.safetensors`, SHA-256 `{info.digest}`. Teacher digest `{info.teacher_digest}`.",
    ]
    return "\n\n".join(parts) + "\n"


def map_text(model: ModelConfig) -> str:
    """What the anomaly map of a model is made of, in a sentence."""
    if model.fusion == "sum":
        return "The sum of the levels, as published."
    if not model.retrieval:
        return "Each level in units of its spread on the good training images."
    words = (
        "The student's levels, and as a second opinion the distance to the nearest patch of a good training image "
        "(retrieval), each less what is usual at such a patch and in units of its spread on the good training images."
    )
    if model.fusion == "agreement":
        words += " Small departures count as nothing, and the coarsest level no more than the middle one."
    return words


def _data_rows(info: ModelInfo) -> list[tuple[str, object]]:
    data = info.data
    return [
        ("Good images learnt from", data.get("n_train", "not known")),
        ("Good images held out", data.get("n_holdout", "not known")),
        ("Part", info.alignment or "whole images are seen"),
        ("Images above 8 bit", f"shown from {info.levels}" if info.levels else "over the full range of their files"),
        ("Layout", data.get("layout", "not known")),
        ("Licence of the data", data.get("licence") or "not stated"),
        ("Note", data.get("note") or "none"),
        ("Digest of the training images", f"`{data['digest']}`" if "digest" in data else "not known"),
    ]


def _training_rows(info: ModelInfo) -> list[tuple[str, object]]:
    if info.train is None:
        return [("Settings", "not known: the model was imported")]
    train = info.train
    chosen = {"last": "the last", "holdout": "the best on held-out good images", "test": "the best on the test set"}
    consistency = f", group consistency weighted {train.rate:g}" if train.group_consistency else ""
    return [
        ("Epochs", f"{train.epochs}; kept: epoch {info.selected_epoch}, {chosen[train.selection]}"),
        ("Optimiser", f"Adam, learning rate {train.learning_rate:g} ({train.schedule}), batch {train.batch_size}"),
        ("Loss", f"{train.loss}{consistency}"),
        ("Seed", train.seed),
        ("Time", f"{info.training_seconds:.0f} s of epochs" if info.training_seconds is not None else "not known"),
        ("Environment", ", ".join(f"{name} {version}" for name, version in info.environment.items())),
    ]


def _calibration_text(info: ModelInfo) -> str:
    calibration = info.calibration
    if calibration is None:
        return "None: no good images were held out, so this model gives scores but no verdicts."
    text = f"A part is NG when its score is above {calibration.image_threshold:.4g}"
    if calibration.review_threshold is not None:
        text += f", and for REVIEW above {calibration.review_threshold:.4g}"
    text += f": {calibration.method} on {_one_line(calibration.data)}"
    if calibration.target_false_reject_rate is not None:
        text += f" for a false-reject rate of {calibration.target_false_reject_rate:.2%}"
    text += "."
    if calibration.certified_false_reject_rate is not None:
        text += f" {calibration.n} images can certify {calibration.certified_false_reject_rate:.2%}."
    if calibration.min_area > 1:
        text += f" Regions of fewer than {calibration.min_area} pixels of the map do not count."
    if calibration.ignore is not None:
        text += f" The regions in {calibration.ignore} are ignored."
    note = f" {_one_line(calibration.note)}" if calibration.note else ""
    version = (
        f"Version {calibration.version} of {info.calibration_versions}, {calibration.created_at}, "
        f"by {_one_line(calibration.who)}.{note}"
    )
    badge = "**Test-fitted: the thresholds were chosen on test images, so figures on these images are optimistic.**"
    return "\n\n".join([*([badge] if calibration.test_fitted else []), text, version])


def _metrics_text(info: ModelInfo) -> str:
    metrics = info.metrics
    if metrics is None:
        return "Nothing yet."
    badge = "**Test-selected: the epoch was chosen on the test set, so these figures are optimistic.**\n\n"
    rows = [(title, f"{metrics[name]:.3f}") for name, title in METRIC_TITLES.items() if metrics.get(name) is not None]
    # an imported bundle may hold only some of these
    good, defective = (metrics.get(name, "an unknown number of") for name in ("n_good", "n_defect"))
    counts = f"{good} good and {defective} defective test images. {metrics.get('protocol', '')}"
    return (badge if info.test_selected else "") + f"{_table(rows)}\n\n{counts}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _table(rows: list[Any]) -> str:
    # a class, licence or note may hold what would break the table
    lines = [f"| {name} | {_one_line(str(value)).replace('|', '&#124;')} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *lines])
