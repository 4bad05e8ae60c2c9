"""One evaluation from beginning to end: score, measure, draw again, keep."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from skrd4ad.format import fetching_weights
from skrd4ad.inference.evaluate import Evaluation, evaluate_model
from skrd4ad.inference.scoring import scoring_mask_digest
from skrd4ad.metrics.bootstrap import Bootstrap, bootstrap
from skrd4ad.metrics.curves import curves_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask
from skrd4ad.services.evaluation.key import Contents, evaluation_key, is_own_test_set, name_in
from skrd4ad.services.evaluation.result import EvaluatedImage, EvaluationSummary, StoredEvaluation
from skrd4ad.services.evaluation.store import write_evaluation
from skrd4ad.services.inspection.predictions import PredictionStore
from skrd4ad.services.inspection.runtimes import Wish, open_predictor
from skrd4ad.types import DatasetClass, Progress

Report = Callable[[Mapping[str, Any]], None]
"""Is told how far an evaluation is: ``phase``, ``done``, ``total``, ``share`` and ``words``."""
DATA_SETTINGS = ("source", "layout", "n_train", "n_holdout", "digest", "started_from", "note")
"""What is kept of what a model records of its training data."""
Phase = Literal["weights", "images", "metrics", "intervals", "storing"]
_SHARES: dict[Phase, tuple[float, float]] = {
    "weights": (0.0, 0.05),
    "images": (0.05, 0.7),
    "metrics": (0.7, 0.75),
    "intervals": (0.75, 0.97),
    "storing": (0.97, 1.0),
}
"""Where each phase begins and ends, of the whole."""


def measure(
    folder: Path,
    data: DatasetClass,
    contents: Contents,
    *,
    source: str,
    weights: Path | None = None,
    wish: Wish | None = None,
    report: Report | None = None,
    check: Callable[[], None] | None = None,
) -> StoredEvaluation:
    """Measure a model on a class and keep what was found, in place of what was known before.

    Arguments and errors as for :func:`.evaluate.evaluate_class`; ``contents`` are those of the class.
    """
    steps = _Steps(report, check)
    steps.begin("weights", "loading the model")
    predictor = open_predictor(
        folder,
        wish or Wish(),
        images=[sample.path for sample in data.test],
        exact=True,
        weights=weights,
        progress=steps.of("weights", fetching_weights),
    )
    info, store = predictor.info, PredictionStore(predictor.info, runtime=predictor.runtime)

    images = steps.of("images", lambda done, total: f"scoring image {done} of {total}")

    def scored(done: int, total: int) -> None:
        images(done, total)
        if done == total:
            steps.begin("metrics", "measuring")

    evaluation = evaluate_model(predictor, data, record=store.recorded, progress=scored, check=check)
    steps.check()
    curves = curves_of(evaluation.data)
    steps.begin("intervals", "drawing the images again for intervals")
    intervals = bootstrap(
        evaluation.data,
        progress=steps.of("intervals", lambda done, total: f"intervals: drawing {done} of {total}"),
        check=check,
    )
    steps.begin("storing", "storing")
    summary = _summary(info, data, contents, source=source, mask=store.mask, evaluation=evaluation, intervals=intervals)
    kept = _images(data, contents, evaluation)
    return write_evaluation(summary, images=kept, curves=curves, data=evaluation.data)


@dataclass(frozen=True)
class _Steps:
    report: Report | None
    check_: Callable[[], None] | None

    def begin(self, phase: Phase, words: str) -> None:
        self._tell(phase, 0, 0, words)
        self.check()

    def of(self, phase: Phase, words: Callable[[int, int], str]) -> Progress:
        return lambda done, total: self._tell(phase, done, total, words(done, total))

    def check(self) -> None:
        if self.check_ is not None:
            self.check_()

    def _tell(self, phase: Phase, done: int, total: int, words: str) -> None:
        if self.report is not None:
            start, end = _SHARES[phase]
            share = start + (end - start) * (min(done / total, 1.0) if total else 0.0)
            self.report({"phase": phase, "done": done, "total": total, "share": round(share, 4), "words": words})


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
        settings={
            "model": info.model,
            "train": info.train,
            "data": {name: info.data.get(name) for name in DATA_SETTINGS},
            "origin": info.origin,
            "selected_epoch": info.selected_epoch,
        },
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
    for place, sample in enumerate(evaluation.samples):
        has_mask = found.masks is not None and sample.label == 1 and bool(found.has_mask[place])
        images.append(
            EvaluatedImage(
                place=place,
                path=sample.path,
                name=name_in(data, sample.path),
                label=sample.label,
                defect_type=sample.defect_type,
                mask_path=sample.mask_path if has_mask else None,
                score=float(found.scores[place]),
                verdict_score=float(evaluation.verdict_scores[place]),
                mask_area=int(found.masks[place].sum()) if has_mask and found.masks is not None else None,
                content=contents.images[place],
                mask_content=contents.masks[place] if has_mask else None,
            )
        )
    return tuple(images)
