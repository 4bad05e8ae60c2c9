"""Evaluations in the background, kept by what was measured on what, so that the same is never measured twice.

A finished evaluation is found by the digests of the model, its teacher, what counts of its maps (ignored pixels and
smallest region of the calibration; its limits do not matter) and the data (contents of images and masks, labels).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skrd4ad.inference.scoring import scoring_mask_digest, scoring_mask_of
from skrd4ad.model_folder.folder import read_info, save_metrics
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.pictures import read_pictures
from skrd4ad.services.access import needs
from skrd4ad.services.datasets import class_of, is_embedded
from skrd4ad.services.evaluation.key import Contents, as_it_is_now, contents_of, evaluation_key
from skrd4ad.services.evaluation.pictures import draw_pictures
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.services.evaluation.run import measure
from skrd4ad.services.evaluation.store import all_summaries, load_evaluation
from skrd4ad.services.inspection.runtimes import Background, RuntimeRequest, background
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.task import QUIET, Status, Task
from skrd4ad.types import DatasetClass


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """One model and one class to measure it on. Its JSON form is all that is needed to ask for the same again."""

    model: str
    source: str
    """``elpv``, ``synthetic`` or a folder."""
    class_name: str
    layout: str = "auto"
    weights: str | None = None
    again: bool = False


def _title(request: EvaluationRequest) -> str:
    return f"Evaluation of {request.class_name} · {Path(request.model).name}"


def _run(request: EvaluationRequest, job: JobHandle) -> Mapping[str, Any]:
    data = job.task.beside(lambda: class_of(request.source, layout=request.layout, class_name=request.class_name))
    reused = True

    def show(at: Status) -> None:
        nonlocal reused
        reused = False
        job.task.show(at)

    stored = evaluate_class(
        Path(request.model),
        data,
        source=request.source,
        weights=None if request.weights is None else Path(request.weights),
        again=request.again,
        background=background(),
        task=replace(job.task, show=show),
    )
    return result_of(stored, reused=reused)


def result_of(stored: StoredEvaluation, *, reused: bool) -> dict[str, Any]:
    """The result of an evaluation's job; ``reused`` when nothing had to be computed."""
    summary = stored.summary
    return {
        "key": summary.key,
        "model_folder": summary.model_folder,
        "dataset": summary.dataset,
        "class_name": summary.class_name,
        "metrics": {**asdict(summary.metrics), "test_selected": summary.test_selected},
        "reused": reused,
    }


EVALUATION = JobKind(name="evaluate", lane="short", request=EvaluationRequest, title=_title, run=_run)
"""Its result is that of :func:`result_of`."""


def find_evaluation(info: ModelInfo, data: DatasetClass) -> StoredEvaluation | None:
    """The finished evaluation of a model on a class as both are now.

    When there is none, the newest one of this model on this class with other images, masks, labels or ignored pixels,
    with ``stale`` saying so; else None. Reads the files of the test images once to tell whether they changed, and
    remembers that by their size and time of change.
    """
    contents = contents_of(info, data)
    stored = load_evaluation(evaluation_key(info, contents))
    if stored is not None:
        return as_it_is_now(stored, info, data, contents)
    older = [
        summary
        for summary in all_summaries()
        if summary.model_digest == info.digest
        and summary.teacher_digest == info.teacher_digest
        and summary.class_name == data.name
        and (summary.root == data.root.absolute() or summary.dataset == data.dataset)
    ]
    newest = max(older, key=lambda summary: summary.created_at, default=None)
    stored = None if newest is None else load_evaluation(newest.key)
    return None if stored is None else replace(stored, stale=_why_stale(stored, info, contents))


@needs("engineer", "evaluate a model")
def evaluate_class(
    folder: Path,
    data: DatasetClass,
    *,
    source: str,
    weights: Path | None = None,
    wish: RuntimeRequest | None = None,
    again: bool = False,
    save_in_model: bool = True,
    background: Background | None = None,
    task: Task = QUIET,
) -> StoredEvaluation:
    """Measure a model on the test images of a class and keep what was found; what is known already is only loaded.

    Args:
        source: what was given as the data: a path, ``elpv`` or ``synthetic``.
        weights: weights file of the teacher to use instead of the usual places.
        wish: runtime and device, None for the fastest in fp32; all of them give the same figures.
        again: measure even if the same was measured before.
        save_in_model: store the figures in the model folder too when the data is the model's own test set.
        background: looks for the fastest runtime beside this; None to look for it here, when it pays.
    """
    info = read_info(folder)
    contents = contents_of(info, data, task)
    known = None if again else load_evaluation(evaluation_key(info, contents))
    if known is not None:
        stored = as_it_is_now(known, info, data, contents)
    else:
        opened = source if is_embedded(source) else str(Path(source).absolute())
        stored = measure(
            folder, data, contents, source=opened, weights=weights, wish=wish, background=background, task=task
        )
    document = stored.summary.document()
    if save_in_model and stored.summary.own_test_set:
        if info.metrics != document:
            save_metrics(folder, document)
        if known is None or not read_pictures(folder):
            draw_pictures(stored)
    return stored


def _why_stale(stored: StoredEvaluation, info: ModelInfo, contents: Contents) -> tuple[str, ...]:
    if stored.summary.data_digest != contents.digest:
        return ("The test images, their labels or their masks have changed since this was measured. Evaluate again.",)
    if stored.summary.surface_digest != scoring_mask_digest(scoring_mask_of(info)):
        return (
            "The calibration ignores other pixels now, or has another smallest region, than when this was measured. "
            "Evaluate again.",
        )
    return ("Another version of this program measured this. Evaluate again.",)
