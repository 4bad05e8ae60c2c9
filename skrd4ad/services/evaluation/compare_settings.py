"""In what two evaluations differ besides their results: model, training, data, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skrd4ad import documents
from skrd4ad.format import format_number
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.result import MeasuredModel
from skrd4ad.types import size_option

_TRAIN = {
    "epochs": "Epochs",
    "most_steps": "Steps at most",
    "learning_rate": "Learning rate",
    "schedule": "Learning rate over the steps",
    "batch_size": "Batch size",
    "seed": "Seed",
    "loss": "Loss",
    "group_consistency": "Group consistency loss",
    "rate": "Weight of group consistency",
    "holdout": "Share held out",
    "selection": "Epoch chosen by",
    "align": "Part",
    "precision": "Precision of the training",
    "evaluate_every": "Epochs between evaluations on the test set",
}
_DATA = {
    "source": "Training data",
    "layout": "Layout of the training data",
    "n_train": "Good images learnt from",
    "n_holdout": "Good images held out",
    "digest": "Digest of the training images",
}
_DIGEST = 12


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A setting in which two evaluations differ."""

    name: str
    a: str
    b: str


def settings_that_differ(
    a: MeasuredModel, b: MeasuredModel, *, calibrations: Sequence[Calibration | None] = (None, None)
) -> tuple[SettingDifference, ...]:
    """Settings of models, trainings, data and calibrations that are not the same."""
    values_a, values_b = (
        _settings(summary, calibration) for summary, calibration in zip((a, b), calibrations, strict=True)
    )
    return tuple(
        SettingDifference(name=name, a=values_a[name], b=values_b[name])
        for name in values_a
        if values_a[name] != values_b[name]
    )


def _settings(summary: MeasuredModel, calibration: Calibration | None) -> dict[str, str]:
    settings = summary.settings
    model, data = settings["model"], settings["data"]
    return {
        "Teacher": model.net,
        "Skip connections": str(model.skips),
        "Image size in pixels": size_option(model.image_size),
        "Width of the student": str(model.width),
        "Levels joined by": model.fusion,
        "Compared with good patches": _text(model.retrieval),
        "Digest of the teacher": summary.teacher_digest[:_DIGEST],
        "Origin": _text(settings.get("origin")),
        **_named(_TRAIN, documents.to_plain(settings["train"])),
        "Epoch kept": _text(settings.get("selected_epoch")),
        **_named(_DATA, data),
        "Training went on from": _text(data.get("started_from") or "nothing"),
        "Test data": f"{summary.dataset}/{summary.class_name}",
        "Digest of the test images": summary.data_digest[:_DIGEST],
        "Smallest region in pixels": str(summary.min_area),
        "Ignores pixels": _text(summary.ignores_pixels),
        **_limits(calibration),
    }


def _limits(calibration: Calibration | None) -> dict[str, str]:
    names = ("Calibration", "Reject limit", "Review limit")
    if calibration is None:
        return dict.fromkeys(names, "none")
    review = calibration.review_threshold
    values = (
        f"version {calibration.version}, {calibration.method}",
        format_number(calibration.image_threshold),
        "none" if review is None else format_number(review),
    )
    return dict(zip(names, values, strict=True))


def _named(names: Mapping[str, str], values: Mapping[str, Any] | None) -> dict[str, str]:
    return {title: _text((values or {}).get(key), is_digest=key == "digest") for key, title in names.items()}


def _text(value: object, *, is_digest: bool = False) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(str(part)[:_DIGEST] for part in value.values())
    return str(value)[:_DIGEST] if is_digest else str(value)
