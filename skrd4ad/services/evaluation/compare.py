"""Two evaluations side by side on the same images: what differs, by how much, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skrd4ad import documents
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, StorageError
from skrd4ad.files import write_json
from skrd4ad.metrics.aupro import ignored_of
from skrd4ad.metrics.bootstrap import METRIC_NAMES, REPLICATES, SEED, PairedDifference, paired_differences
from skrd4ad.metrics.evaluation import Metrics, evaluate
from skrd4ad.paths import workspace
from skrd4ad.services.evaluation.compare_images import ImageChange, Pairs, common_images, image_changes
from skrd4ad.services.evaluation.compare_settings import SettingDifference, settings_that_differ
from skrd4ad.services.evaluation.result import MeasuredImages, MeasuredModel, StoredEvaluation
from skrd4ad.services.evaluation.store import load_evaluation
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.task import QUIET, Task
from skrd4ad.types import EvaluationSet, size_text

FORMAT = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """A second evaluation against a first, on the images that both have."""

    a: MeasuredModel
    b: MeasuredModel
    differences: dict[str, PairedDifference]
    """By the names of ``skrd4ad.metrics.bootstrap.METRIC_NAMES``."""
    n_good: int
    n_defect: int
    only_a: int
    """Images of the first evaluation that the second lacks, or has with another label or mask."""
    only_b: int
    images: tuple[ImageChange, ...]
    """All images compared: flipped verdicts first, then by how far their ranks differ."""
    settings: tuple[SettingDifference, ...]
    notes: tuple[str, ...]
    """What a reader must know: compared on common images only, maps of two sizes, test-selected epochs, …"""
    replicates: int
    seed: int

    @property
    def flips(self) -> tuple[ImageChange, ...]:
        """Images whose verdict differs."""
        return tuple(image for image in self.images if image.flipped)


def compare(a: MeasuredImages, b: MeasuredImages, *, task: Task = QUIET) -> Comparison:
    """Compare two models on their common images; a comparison made before is only loaded.

    Differences above 0 are in favour of ``b``.

    Raises:
        DataError: they have no image in common, or the common ones are all good or all defective.
        StorageError: the maps of one are gone or damaged; evaluate again. Or the workspace cannot be written.
    """
    pairs = common_images(a, b)
    differences = _kept_differences(a, b)
    if differences is None:
        set_a, metrics_a = _part(a, [index for index, _ in pairs], task.part(0, 0.2))
        set_b, metrics_b = _part(b, [index for _, index in pairs], task.part(0.2, 0.4))
        drawing = task.part(0.4, 1, "comparing: drawing {done} of {total}")
        differences = paired_differences(set_a, set_b, metrics_a=metrics_a, metrics_b=metrics_b, task=drawing)
        _keep_differences(a, b, differences)
    return _comparison(a, b, pairs, differences)


def compare_scores(a: MeasuredImages, b: MeasuredImages) -> Comparison:
    """The figures of images alone, in a moment and without maps; nothing is kept."""
    pairs = common_images(a, b)
    sets = [_scores_alone(side, [pair[number] for pair in pairs]) for number, side in enumerate((a, b))]
    metrics_a, metrics_b = map(evaluate, sets)
    return _comparison(a, b, pairs, paired_differences(*sets, metrics_a=metrics_a, metrics_b=metrics_b))


def find_comparison(a: MeasuredImages, b: MeasuredImages) -> Comparison | None:
    """A comparison that was made before, with verdicts by the current calibrations; None when there is none.

    Raises:
        DataError: they have no image in common, or the common ones are all good or all defective.
    """
    pairs = common_images(a, b)
    differences = _kept_differences(a, b)
    return None if differences is None else _comparison(a, b, pairs, differences)


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """Two finished evaluations to compare, by their keys."""

    a: str
    b: str


def _title(request: ComparisonRequest) -> str:
    first, second = (_loaded(key).summary.model_folder.name for key in (request.a, request.b))
    return f"Comparison of {first} and {second}"


def _run(request: ComparisonRequest, job: JobHandle) -> Mapping[str, Any]:
    compare(_loaded(request.a), _loaded(request.b), task=job.task)
    return asdict(request)


COMPARISON = JobKind(name="compare", lane="short", request=ComparisonRequest, title=_title, run=_run)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """JSON-ready form."""
    return {
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "n_good": comparison.n_good,
        "n_defect": comparison.n_defect,
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "differences": {
            name: {**asdict(found), "clear": found.is_clear} for name, found in comparison.differences.items()
        },
        "flips": documents.to_plain(comparison.flips),
        "settings": documents.to_plain(comparison.settings),
        "notes": list(comparison.notes),
        "bootstrap": {"replicates": comparison.replicates, "seed": comparison.seed},
    }


def _side(summary: MeasuredModel) -> dict[str, Any]:
    return {
        "evaluation": summary.key,
        "model": str(summary.model_folder),
        "title": summary.model_title,
        "dataset": summary.dataset,
        "class_name": summary.class_name,
        "test_selected": summary.test_selected,
        "metrics": asdict(summary.metrics),
    }


def _loaded(key: str) -> StoredEvaluation:
    stored = load_evaluation(key)
    if stored is None:
        raise StorageError(f"The evaluation {key!r} is not in this workspace any more; evaluate the model again.")
    return stored


def _part(measured: MeasuredImages, indices: Sequence[int], task: Task) -> tuple[EvaluationSet, Metrics]:
    """The chosen images in the order of their indices, and their exact figures."""
    data, metrics = measured.measured(task)
    if list(indices) == list(range(len(measured.images))):
        return data, metrics
    assert data.maps is not None
    chosen = replace(
        _scores_alone(measured, indices),
        maps=data.maps[indices],
        masks=None if data.masks is None else data.masks[indices],
        has_mask=data.has_mask[indices],
        ignored=ignored_of(data.ignored, list(indices)),
    )
    return chosen, task.beside(lambda: evaluate(chosen))


def _scores_alone(measured: MeasuredImages, indices: Sequence[int]) -> EvaluationSet:
    chosen = list(indices)
    return EvaluationSet(
        labels=measured.labels[chosen],
        scores=measured.scores[chosen],
        defect_types=tuple(measured.images[index].defect_type for index in chosen),
    )


def _comparison(
    a: MeasuredImages, b: MeasuredImages, pairs: Pairs, differences: dict[str, PairedDifference]
) -> Comparison:
    only_a, only_b = len(a.images) - len(pairs), len(b.images) - len(pairs)
    n_defect = sum(a.images[index].label for index, _ in pairs)
    return Comparison(
        a=a.summary,
        b=b.summary,
        differences=differences,
        n_good=len(pairs) - n_defect,
        n_defect=n_defect,
        only_a=only_a,
        only_b=only_b,
        images=image_changes(a, b, pairs),
        settings=settings_that_differ(a.summary, b.summary, calibrations=[a.limits()[0], b.limits()[0]]),
        notes=_notes(a.summary, b.summary, n_common=len(pairs), only_a=only_a, only_b=only_b),
        replicates=REPLICATES,
        seed=SEED,
    )


def _notes(a: MeasuredModel, b: MeasuredModel, *, n_common: int, only_a: int, only_b: int) -> tuple[str, ...]:
    notes = []
    if only_a or only_b:
        notes.append(
            f"Compared on the {n_common} images that both evaluations have; {only_a} of the first and {only_b} of the "
            "second are left out, because the other lacks them or has another label or mask."
        )
    if a.key == b.key:
        notes.append("Both are the same evaluation, so nothing differs.")
    if a.image_size != b.image_size:
        notes.append(
            f"The maps have {size_text(a.image_size)} and {size_text(b.image_size)} pixels (height x width). Pixel "
            "figures are measured at each model's own size, where small defects count differently."
        )
    if a.surface_digest != b.surface_digest:
        notes.append("The calibrations ignore different pixels or have different smallest regions.")
    chosen = [name for name, summary in (("first", a), ("second", b)) if summary.test_selected]
    if chosen:
        which = "Both models" if len(chosen) == 2 else f"The {chosen[0]} model"
        notes.append(f"{which} had the epoch selected on a test set: these figures are optimistic.")
    notes.append(
        "An interval that leaves out 0 is a clear difference on images like these. Of twenty comparisons of equal "
        "models, about one looks clear by chance. The intervals know nothing of another training with another seed."
    )
    return tuple(notes)


def _file_of(a: MeasuredImages, b: MeasuredImages) -> Path:
    name = content_digest(f"{FORMAT}|{a.summary.key}|{b.summary.key}")[:32]
    return workspace() / "comparisons" / f"{name}.json"


@dataclass(frozen=True)
class _StoredComparison:
    differences: dict[str, PairedDifference]


def _keep_differences(a: MeasuredImages, b: MeasuredImages, differences: Mapping[str, PairedDifference]) -> None:
    try:
        write_json(_file_of(a, b), _StoredComparison(dict(differences)), format=FORMAT)
    except CheckpointError as error:
        raise StorageError(f"The comparison cannot be kept. {error}") from error


def _kept_differences(a: MeasuredImages, b: MeasuredImages) -> dict[str, PairedDifference] | None:
    path = _file_of(a, b)
    if not path.is_file():
        return None
    try:
        kept = documents.read(path, _StoredComparison, format=FORMAT).differences
    except CheckpointError:  # damaged: computed again
        return None
    return {name: kept[name] for name in METRIC_NAMES} if set(METRIC_NAMES) <= set(kept) else None
