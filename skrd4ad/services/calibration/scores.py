"""Scores to choose thresholds by: of held-out good images, and of labelled images where there are any.

Scores are kept in the workspace by model, by what counts of its maps, and by the content of each image; so a second
look at the same images, wherever they lie, loads no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skrd4ad import documents
from skrd4ad.data.dataset import iter_images
from skrd4ad.digests import content_digest, image_digest
from skrd4ad.errors import CheckpointError, DataError
from skrd4ad.files import write_json
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import Surface, score_under, surface_digest, surface_of
from skrd4ad.model_folder.folder import read_history, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import learnt_and_held_out
from skrd4ad.paths import workspace
from skrd4ad.types import GOOD, DatasetClass, Progress, Sample

BATCH = 16
CACHE_FORMAT = 1


@dataclass(frozen=True)
class ScoredImage:
    """A labelled image and its score."""

    path: Path
    defect_type: str
    """``good``, or the name of its defect."""
    score: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Distributions:
    """Scores of one model, all under the same surface."""

    info: ModelInfo
    surface: Surface
    """Which pixels count in these scores."""
    ignore: str | None
    """Name of the mask in the model folder when the ignored regions are those of the current calibration."""
    normals: tuple[float, ...]
    """Scores of good images that the model has not learnt from, ascending."""
    normals_data: str
    """In words: which images these are."""
    normals_are_tests: bool
    """Some of the good images given are test images of the data set; what is taken from them is test-fitted."""
    labelled: tuple[ScoredImage, ...]
    labelled_data: str
    labelled_are_tests: bool
    """Some of the labelled images are test images of the data set; what is fitted to them is test-fitted."""
    warnings: tuple[str, ...]

    @property
    def good_scores(self) -> tuple[float, ...]:
        """Scores of the labelled good images."""
        return tuple(image.score for image in self.labelled if image.defect_type == GOOD)

    @property
    def defect_scores(self) -> tuple[float, ...]:
        """Scores of the labelled defective images."""
        return tuple(image.score for image in self.labelled if image.defect_type != GOOD)


@dataclass(frozen=True)
class _Kept:
    """Scores that a calibration holds, and where they came from."""

    scores: tuple[float, ...]
    data: str
    are_tests: bool


def score_distributions(
    folder: Path,
    data: DatasetClass | None,
    *,
    labelled: DatasetClass | None = None,
    normals: Sequence[Path] = (),
    surface: Surface | None = None,
    weights: Path | None = None,
    progress: Progress | None = None,
) -> Distributions:
    """Scores of held-out good images and of labelled images.

    Images that the model has learnt from are left out, with a warning.

    Args:
        folder: model folder.
        data: the class the model was trained on, when it is at hand: tells which images were learnt from, which were
            held out, and which are test images. Its test images are the labelled ones, unless others are given.
        labelled: images with labels, good and defective, in place of the test images; a class without samples for
            none.
        normals: new good images to use in place of those held out of training.
        surface: which pixels count; None for the surface of the current calibration. Under another one the held-out
            images of training are scored again, which needs ``data``.
        weights: weights file of the teacher to use instead of the usual places.
        progress: called with images done and total while images are scored.

    Raises:
        CheckpointError: this is no model folder, or it is damaged.
        ImageError: an image cannot be read.
        DataError: all the normals are images that the model has learnt from.
        WeightsError: the teacher's weights cannot be found, fetched or trusted.
    """
    info = read_info(folder)
    own = surface_of(info)
    chosen = own if surface is None else surface
    same = surface_digest(chosen) == surface_digest(own)
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
    scored = _scores_of(info, [*good, *labelled_samples], chosen, weights=weights, progress=progress)
    normal_scores = tuple(sorted(scored[: len(good)])) if kept is None else kept.scores
    if not normal_scores:
        warnings.append(
            "No held-out good images are at hand"
            + ("" if same else ", and their scores must be taken again as other pixels count now")
            + ": a false-reject rate can be promised only with good images the model has not seen. Give some."
        )
    return Distributions(
        info=info,
        surface=chosen,
        ignore=info.calibration.ignore if info.calibration is not None and same else None,
        normals=normal_scores,
        normals_data=_good_in_words(good, are_new=bool(normals)) if kept is None else kept.data,
        normals_are_tests=_any_of(good, tests) if kept is None else kept.are_tests,
        labelled=tuple(
            ScoredImage(sample.path, sample.defect_type, score)
            for sample, score in zip(labelled_samples, scored[len(good) :], strict=True)
        ),
        labelled_data=_labelled_in_words(labelled_samples, source),
        labelled_are_tests=_any_of(labelled_samples, tests),
        warnings=tuple(warnings),
    )


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


def _kept(info: ModelInfo) -> _Kept | None:
    """Scores of held-out good images in the current calibration; those of the version that took them from images."""
    if info.calibration is None or not info.calibration.scores:
        return None
    scores = info.calibration.scores
    history = read_history(info.folder)
    versions = () if history is None else history.versions
    first = next((each for each in versions if each.scores == scores and each.method == "split-conformal"), None)
    if first is None:
        return _Kept(scores, f"{len(scores)} held-out good images", info.calibration.test_fitted)
    return _Kept(scores, first.data, first.test_fitted)


def _scores_of(
    info: ModelInfo, samples: Sequence[Sample], surface: Surface, *, weights: Path | None, progress: Progress | None
) -> list[float]:
    """Scores in the order of the samples; those of images never seen before are computed and kept."""
    contents = [image_digest(sample.path) for sample in samples]
    path = _cache_file(info, surface)
    known = _read_cache(path)
    # one sample a content: copies have one score
    missing = [s for content, s in dict(zip(contents, samples, strict=True)).items() if content not in known]
    if missing:
        predictor = Predictor.load(info.folder, weights=weights)
        for places, images in iter_images(missing, predictor.image_size, batch=BATCH):
            maps = predictor.batch(images).maps
            for place, anomaly_map in zip(places, maps, strict=True):
                known[image_digest(missing[place].path)] = score_under(anomaly_map, surface)
            if progress is not None:
                progress(places.stop, len(missing))
        write_json(path, {"scores": known})
    return [known[content] for content in contents]


def _cache_file(info: ModelInfo, surface: Surface) -> Path:
    parts = (str(CACHE_FORMAT), info.digest, info.teacher_digest, str(info.model), surface_digest(surface))
    return workspace() / "cache" / "scores" / f"{content_digest('|'.join(parts))}.json"


def _read_cache(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        return documents.read(path, dict[str, dict[str, float]]).get("scores", {})
    except CheckpointError:  # cut short or edited: what it held is computed again
        return {}


def _good_in_words(samples: Sequence[Sample], *, are_new: bool) -> str:
    return f"{len(samples)} good images given" if are_new else f"{len(samples)} held-out good images of training"


def _labelled_in_words(samples: Sequence[Sample], source: DatasetClass | None) -> str:
    if source is None or not samples:
        return "no labelled images"
    n_good = sum(sample.label == 0 for sample in samples)
    return f"{n_good} good and {len(samples) - n_good} defective labelled images of {source.dataset}/{source.name}"
