"""One evaluation from beginning to end: score, measure, draw again, keep."""

from datetime import UTC, datetime
from pathlib import Path

from skrd4ad.inference.evaluate import Evaluation, evaluate_model
from skrd4ad.inference.scoring import scoring_mask_digest
from skrd4ad.metrics.bootstrap import Bootstrap, bootstrap
from skrd4ad.metrics.curves import curves_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask
from skrd4ad.services.evaluation.key import Contents, evaluation_key, is_own_test_set, name_in
from skrd4ad.services.evaluation.result import EvaluatedImage, EvaluationSummary, StoredEvaluation, settings_of
from skrd4ad.services.evaluation.store import write_evaluation
from skrd4ad.services.inspection.predictions import PredictionStore
from skrd4ad.services.inspection.runtimes import Background, RuntimeRequest, open_predictor
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass


def measure(
    folder: Path,
    data: DatasetClass,
    contents: Contents,
    *,
    source: str,
    weights: Path | None = None,
    wish: RuntimeRequest | None = None,
    background: Background | None = None,
    task: Task = QUIET,
) -> StoredEvaluation:
    """Measure a model on a class and keep what was found, in place of what was known before.

    Arguments and errors as for :func:`.evaluate.evaluate_class`; ``contents`` are those of the class.
    """
    task.report(0, 0, "loading the model")
    # reading weights and compiling a graph ask nobody
    predictor = task.beside(
        lambda: open_predictor(
            folder,
            wish or RuntimeRequest(),
            exact=True,
            weights=weights,
            background=background,
            task=task.part(0, 0.05),
        )
    )
    info, store = predictor.info, PredictionStore(predictor.info, runtime=predictor.runtime)
    evaluation = evaluate_model(predictor, data, record=store.recorded, task=task.part(0.05, 0.75))
    curves = task.beside(lambda: curves_of(evaluation.data))
    intervals = bootstrap(evaluation.data, task=task.part(0.75, 0.97, "intervals: drawing {done} of {total}"))
    storing = task.part(0.97, 1)
    storing.report(0, 0, "storing")
    # reads the training images, to tell whether these are the model's own
    summary = storing.beside(
        lambda: _summary(
            info, data, contents, source=source, mask=store.mask, evaluation=evaluation, intervals=intervals
        )
    )
    kept = storing.beside(lambda: _images(data, contents, evaluation))
    return write_evaluation(summary, images=kept, curves=curves, data=evaluation.data, task=storing)


def _summary(
    info: ModelInfo,
    data: DatasetClass,
    contents: Contents,
    *,
    source: str,
    mask: ScoringMask,
    evaluation: Evaluation,
    intervals: Bootstrap,
) -> EvaluationSummary:
    return EvaluationSummary(
        key=evaluation_key(info, contents),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model_folder=info.folder,
        model_title=info.title,
        model_digest=info.digest,
        teacher_digest=info.teacher_digest,
        settings=settings_of(info),
        dataset=data.dataset,
        class_name=data.name,
        source=source,
        layout=data.layout,
        root=data.root.absolute(),
        note=data.note,
        data_digest=contents.digest,
        surface_digest=scoring_mask_digest(mask),
        own_test_set=is_own_test_set(info, data),
        test_selected=evaluation.test_selected,
        image_size=evaluation.image_size,
        calibration=evaluation.calibration,
        ignores_pixels=evaluation.ignores_pixels,
        min_area=mask.min_area,
        metrics=evaluation.metrics,
        by_defect=evaluation.by_defect,
        by_mask_class=evaluation.by_mask_class,
        authors=evaluation.authors,
        intervals=intervals,
        protocol=evaluation.protocol,
        vanished=evaluation.vanished,
        vanished_regions=evaluation.vanished_regions,
        left_out=evaluation.left_out,
        n_images=len(evaluation.samples),
        size_bytes=0,
    )


def _images(data: DatasetClass, contents: Contents, evaluation: Evaluation) -> tuple[EvaluatedImage, ...]:
    found = evaluation.data
    assert found.maps is not None
    images = []
    for index, sample in enumerate(evaluation.samples):
        has_mask = found.masks is not None and sample.label == 1 and bool(found.has_mask[index])
        images.append(
            EvaluatedImage(
                place=index,
                path=sample.path,
                name=name_in(data, sample.path),
                label=sample.label,
                defect_type=sample.defect_type,
                mask_path=sample.mask_path if has_mask else None,
                score=float(found.scores[index]),
                verdict_score=float(evaluation.verdict_scores[index]),
                mask_area=int(found.masks[index].sum()) if has_mask and found.masks is not None else None,
                content=contents.images[index],
                mask_content=contents.masks[index] if has_mask else None,
                refused=bool(evaluation.refused[index]),
            )
        )
    return tuple(images)
