"""Scores to choose thresholds by: of held-out good images, and of labelled images where there are any.

They come from the workspace's predictions; so a second look at the same images, wherever they lie, loads no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skrd4ad.digests import image_digest
from skrd4ad.errors import DataError, ImageError
from skrd4ad.export.runtimes import RuntimeChoice, load_runtime
from skrd4ad.inference.predictions import STREAMS
from skrd4ad.inference.scoring import scoring_mask_digest, scoring_mask_of
from skrd4ad.model_folder.folder import read_history, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import learnt_and_held_out
from skrd4ad.regions import ScoringMask
from skrd4ad.services.inspection.predictions import CachedPrediction, ImageFile, PredictionStore
from skrd4ad.services.inspection.runtimes import runtime_now
from skrd4ad.task import QUIET, Task
from skrd4ad.types import GOOD, DatasetClass, Sample, is_tiled

BATCH = 16


@dataclass(frozen=True)
class ScoredImage:
    """A labelled image and its score."""

    path: Path
    defect_type: str
    score: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Distributions:
    """Scores of one model, all under the same scoring mask."""

    info: ModelInfo
    mask: ScoringMask
    ignore: str | None
    """Name of the mask in the model folder when the ignored regions are those of the current calibration."""
    normals: tuple[float, ...]
    """Scores of good images that the model has not learnt from, ascending."""
    normals_data: str
    normals_are_tests: bool
    """Some of the good images given are test images of the data set; what is taken from them is test-fitted."""
    labelled: tuple[ScoredImage, ...]
    labelled_data: str
    labelled_are_tests: bool
    warnings: tuple[str, ...]

    @property
    def good_scores(self) -> tuple[float, ...]:
        """Scores of the labelled good images."""
        return tuple(image.score for image in self.labelled if image.defect_type == GOOD)

    @property
    def defect_scores(self) -> tuple[float, ...]:
        """Scores of the labelled defective images."""
        return tuple(image.score for image in self.labelled if image.defect_type != GOOD)


def score_distributions(
    folder: Path,
    data: DatasetClass | None,
    *,
    labelled: DatasetClass | None = None,
    normals: Sequence[Path] = (),
    mask: ScoringMask | None = None,
    weights: Path | None = None,
    task: Task = QUIET,
) -> Distributions:
    """Scores of held-out good images and of labelled images.

    Images that the model has learnt from are left out, with a warning.

    Args:
        data: the class the model was trained on, when it is at hand: tells which images were learnt from, which were
            held out, and which are test images. Its test images are the labelled ones, unless others are given.
        labelled: images with labels, in place of the test images; a class without samples for none.
        normals: new good images to use in place of those held out of training.
        mask: which pixels count; None for the current calibration's. Under another one the held-out images of
            training are scored again, which needs ``data``.

    Raises:
        ImageError: an image cannot be read.
        DataError: all the normals are images that the model has learnt from.
    """
    info = read_info(folder)
    own = scoring_mask_of(info)
    chosen = own if mask is None else mask
    same = scoring_mask_digest(chosen) == scoring_mask_digest(own)
    warnings: list[str] = []
    learnt, held_out = learnt_and_held_out(info, data)
    if data is None and (normals or labelled is not None):
        warnings.append(
            "The training images are not at hand, so it cannot be checked whether images given here are among them."
        )
    kept = _kept(info) if same and not normals else None
    tests = set() if data is None else {image_digest(sample.path) for sample in data.test}
    if normals:
        fresh = [Sample(path, "train", 0, GOOD) for path in normals]
        good = _not_learnt(fresh, learnt, warnings, what="good images given")
        if not good:
            raise DataError(
                f"All {len(fresh)} good images given are images the model has learnt from; their scores are too low to "
                "judge new parts by. Give good images it has not seen."
            )
    else:
        good = [] if kept is not None else held_out
    source = data if labelled is None else labelled
    shown = () if source is None else source.test if labelled is None else source.samples
    labelled_samples = _not_learnt(list(shown), learnt, warnings, what="labelled images")
    predictions = _predictions(info, [*good, *labelled_samples], chosen, weights=weights, task=task)
    of_good, of_labelled = predictions[: len(good)], predictions[len(good) :]
    if kept is None:
        what = f"{len(good)} good images given" if normals else _held_out_text(info, len(good))
        kept = tuple(sorted(each.score for each in of_good)), what, _any_of(good, tests)
    normal_scores, normals_data, normals_are_tests = kept
    warnings += _tile_warning(of_good, "good images") + _tile_warning(of_labelled, "labelled images")
    n_held_out = len(info.data.get("held_out", ()))
    if not normals and normal_scores and 0 < len(good) < n_held_out:
        warnings.append(
            f"{n_held_out - len(good)} of the {n_held_out} images that were held out of training are not in the data "
            "any more; the limits rest on the others."
        )
    if not normal_scores:
        gone = f"None of the {n_held_out} held-out good images is in the data any more"
        warnings.append(
            (gone if n_held_out else "No held-out good images are at hand")
            + ("" if same else ", and their scores must be taken again as other pixels count now")
            + ": a false-reject rate can be promised only with good images the model has not seen. Give some."
        )
    return Distributions(
        info=info,
        mask=chosen,
        ignore=info.calibration.ignore if info.calibration is not None and same else None,
        normals=normal_scores,
        normals_data=normals_data,
        normals_are_tests=normals_are_tests,
        labelled=tuple(
            ScoredImage(sample.path, sample.defect_type, prediction.score)
            for sample, prediction in zip(labelled_samples, of_labelled, strict=True)
        ),
        labelled_data=_labelled_text(labelled_samples, source),
        labelled_are_tests=_any_of(labelled_samples, tests),
        warnings=tuple(warnings),
    )


def _held_out_text(info: ModelInfo, found: int) -> str:
    """How many of the images that were held out of training are left."""
    recorded = len(info.data.get("held_out", ()))
    count = f"{found} of {recorded}" if found < recorded else str(found)
    return f"{count} held-out good images of training"


def _not_learnt(samples: list[Sample], learnt: set[str], warnings: list[str], *, what: str) -> list[Sample]:
    kept = [sample for sample in samples if image_digest(sample.path) not in learnt] if learnt else samples
    if len(kept) < len(samples):
        warnings.append(
            f"{len(samples) - len(kept)} of {len(samples)} {what} are images the model has learnt from; these are left "
            "out."
        )
    return kept


def _any_of(samples: Sequence[Sample], contents: set[str]) -> bool:
    return any(image_digest(sample.path) in contents for sample in samples)


def _kept(info: ModelInfo) -> tuple[tuple[float, ...], str, bool] | None:
    """Scores of held-out good images in the current calibration, what these are, and whether test images are among
    them; as the version says that took them from images."""
    if info.calibration is None or not info.calibration.scores:
        return None
    scores = info.calibration.scores
    history = read_history(info.folder)
    for version in () if history is None else history.versions:
        if version.scores == scores and version.method == "split-conformal":
            return scores, version.data, version.test_fitted
    return scores, f"{len(scores)} held-out good images", info.calibration.test_fitted


def _predictions(
    info: ModelInfo, samples: Sequence[Sample], mask: ScoringMask, *, weights: Path | None, task: Task
) -> list[CachedPrediction]:
    """In the order of the samples."""
    files = [ImageFile(image_digest(each.path), str(each.path), partial(Path, each.path)) for each in samples]
    found: list[CachedPrediction] = []
    choice = runtime_now(info, exact=True) if files else RuntimeChoice("torch")
    load = partial(load_runtime, info.folder, choice, streams=STREAMS, weights=weights)
    for prediction in PredictionStore(info, mask, runtime=choice.text).predictions(files, load, batch=BATCH, task=task):
        if isinstance(prediction, ImageError):
            raise prediction
        found.append(prediction)
        task.report(len(found), len(files))
    return found


def _tile_warning(scored: Sequence[CachedPrediction], what: str) -> list[str]:
    """A limit taken from tiles holds for images with as many tiles only."""
    tiled = sum(is_tiled(each.view) for each in scored)
    if not tiled:
        return []
    return [
        f"{tiled} of {len(scored)} {what} are seen in tiles, as Inspect sees them: each tile is one more chance of a "
        "false reject, so that limits from them hold for images of this size, and regions to ignore do not apply."
    ]


def _labelled_text(samples: Sequence[Sample], source: DatasetClass | None) -> str:
    if source is None or not samples:
        return "no labelled images"
    n_good = sum(sample.label == 0 for sample in samples)
    return f"{n_good} good and {len(samples) - n_good} defective labelled images of {source.dataset}/{source.name}"
