import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.errors import CheckpointError, ConfigError, DataError, ImageError
from skrd4ad.metrics.bootstrap import METRIC_NAMES
from skrd4ad.metrics.ranking import auroc
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.paths import workspace
from skrd4ad.services.evaluation.compare import compare, compare_scores, find_comparison
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.evaluation.operating_points import open_image
from skrd4ad.services.improve import adopt
from skrd4ad.services.improve.adopt import go_back, note_outcome, use_new_model
from skrd4ad.services.improve.agreement import Agreement, agreement, read_book, read_seen
from skrd4ad.services.improve.compare import (
    LABEL_COMPARISON,
    LabelComparison,
    LabelComparisonRequest,
    compare_on_labels,
    in_sample,
)
from skrd4ad.services.improve.labelled import LabelledEvaluation, evaluation_of_labels
from skrd4ad.services.jobs.queue import queue
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import LabelBook, LabelledImage
from skrd4ad.storage.watched_folders import all_watches, begin_watch
from skrd4ad.types import DatasetClass
from tests.evaluation_world import worse_copy
from tests.limits import LONG
from tests.loop_world import decide, label_sample, part, score_all

NOTHING = SeenImages(learnt=frozenset(), held_out=frozenset(), train=frozenset(), tests=frozenset(), is_exact=True)


def image(digest: str, label: str, score: float | None) -> LabelledImage:
    return LabelledImage(digest, f"{digest}.png", digest, None, label, None, None, "Ada", score, 1)  # type: ignore[arg-type]


def book(images: Sequence[LabelledImage]) -> LabelBook:
    return LabelBook(
        dataset="parts",
        class_name="disc",
        model_digest="",
        images={each.digest: each for each in images},
        decisions=(1, 1),
        predictions=(1, None),
        in_class=len(images),
    )


def with_limits(info: ModelInfo, *, review: float | None, reject: float, scores: tuple[float, ...] = ()) -> ModelInfo:
    assert info.calibration is not None
    return replace(
        info, calibration=replace(info.calibration, image_threshold=reject, review_threshold=review, scores=scores)
    )


@pytest.fixture
def models(tiny_model: tuple[Path, Path]) -> tuple[ModelInfo, ModelInfo]:
    info = read_info(tiny_model[0])
    return with_limits(info, review=None, reject=1.0), with_limits(info, review=4.0, reject=5.0)


LABELS = {"a": "good", "b": "good", "c": "good", "d": "defect", "e": "defect", "f": "unsure", "g": "defect"}
OLD = {"a": 0.5, "b": 1.5, "c": 1.2, "d": 0.8, "e": 2.0, "f": 1.0, "g": 0.4}
NEW = {"a": 4.5, "b": 3.0, "c": 6.0, "d": 4.8, "e": 9.0, "f": 1.0, "g": 1.0}


def compared(
    models: tuple[ModelInfo, ModelInfo],
    *,
    old: dict[str, float | None] | None = None,
    new: dict[str, float | None] | None = None,
    seen: tuple[SeenImages, SeenImages] = (NOTHING, NOTHING),
) -> LabelComparison:
    scores = ({**OLD, **(old or {})}, {**NEW, **(new or {})})
    books = [book([image(name, LABELS[name], its[name]) for name in LABELS]) for its in scores]
    return compare_on_labels(*models, books=(books[0], books[1]), seen=seen)


def digests(side: LabelledEvaluation) -> list[str]:
    assert [each.content for each in side.images] == [each.digest for each in side.judged.images]
    return [each.content for each in side.images]


def agreement_of(side: LabelledEvaluation) -> Agreement:
    found = agreement(side.judged)
    assert found is not None
    return found


def test_both_models_are_judged_by_their_own_limits_on_the_same_images(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared(models)
    assert digests(found.old) == digests(found.new) == list("abcdeg")
    truth = [0, 0, 0, 1, 1, 1]
    assert found.old.summary.metrics.image_auroc == auroc(truth, [OLD[name] for name in "abcdeg"])
    assert found.new.summary.metrics.image_auroc == auroc(truth, [NEW[name] for name in "abcdeg"])
    old, new = agreement_of(found.old), agreement_of(found.new)
    assert (old.agreed, old.compared) == (2, 6)
    assert (new.agreed, new.compared, new.reviewed) == (2, 4, 2)
    assert (found.seen, found.without_score, found.is_exact) == (0, 0, True)


def test_the_images_whose_verdict_changes_come_first(models: tuple[ModelInfo, ModelInfo]) -> None:
    images = compared(models).images
    found = {each.name[0]: (each.verdict_a, each.verdict_b, each.turn, each.score_b) for each in images[:3]}
    assert found == {
        "a": ("OK", "REVIEW", "worse", 4.5),
        "b": ("NG", "OK", "better", 3.0),
        "d": ("OK", "REVIEW", "better", 4.8),
    }
    assert {each.turn for each in images[3:]} == {"same"}


def test_what_a_model_has_seen_is_compared_for_neither(models: tuple[ModelInfo, ModelInfo]) -> None:
    seen = (
        replace(NOTHING, learnt=frozenset("a"), held_out=frozenset("b")),
        replace(NOTHING, learnt=frozenset("ac"), held_out=frozenset("d")),
    )
    found = compared(models, seen=seen)
    assert digests(found.new) == list("eg") and not found.has_both_kinds
    assert found.seen == 4 and found.old.summary.metrics.n_good == 0 and found.old.summary.metrics.image_auroc is None
    assert not compared(models, seen=(NOTHING, replace(NOTHING, is_exact=False))).is_exact


def test_an_image_without_a_score_of_both_waits(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared(models, old={"a": None}, new={"e": None})
    assert digests(found.old) == list("bcdg") and found.without_score == 2


def test_a_label_that_changed_between_two_readings_is_not_compared(models: tuple[ModelInfo, ModelInfo]) -> None:
    first = book([image(name, LABELS[name], OLD[name]) for name in LABELS])
    second = book([image(name, "good" if name == "d" else LABELS[name], NEW[name]) for name in LABELS if name != "e"])
    found = compare_on_labels(*models, books=(first, second), seen=(NOTHING, NOTHING))
    assert digests(found.new) == list("abcg")


def test_images_that_limits_were_taken_from_are_counted(models: tuple[ModelInfo, ModelInfo]) -> None:
    old = with_limits(models[0], review=None, reject=1.0, scores=(0.5, 0.8, 1.2, 7.0))
    found = compared((old, models[1]))
    assert (in_sample(found.old.judged), in_sample(found.new.judged)) == (2, 0)


def test_without_limits_scores_are_compared_all_the_same(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared((replace(models[0], calibration=None), models[1]), old=None)
    assert {(each.verdict_a, each.turn) for each in found.images} == {(None, "same")}
    assert agreement(found.old.judged) is None and found.old.limits()[1] == "This model has no limits yet."


def test_the_scores_are_compared_with_an_interval_of_the_same_images(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared(models)
    both = compare_scores(found.old, found.new)
    difference = both.differences["image_auroc"]
    assert difference.difference == pytest.approx((difference.b or 0) - (difference.a or 0)) and difference.interval
    assert both.images == found.images and both.differences["aupro"].a is None
    same = compared(models, new=dict(OLD))
    unchanged = compare_scores(same.old, same.new).differences["image_auroc"]
    assert unchanged.difference == 0 and not unchanged.is_clear


def test_what_the_figures_rest_on_names_the_evaluation(models: tuple[ModelInfo, ModelInfo]) -> None:
    first = compared(models)
    assert compared(models).old.summary.key == first.old.summary.key
    other_limits = with_limits(models[0], review=0.1, reject=0.2)
    assert compared((other_limits, models[1])).old.summary.key == first.old.summary.key
    assert compared(models, old={"a": 0.6}).old.summary.key != first.old.summary.key
    fewer = compared(models, seen=(replace(NOTHING, learnt=frozenset("a")), NOTHING))
    assert fewer.old.summary.key != first.old.summary.key


@pytest.fixture
def labelled(info: ModelInfo, more_parts: Path) -> DatasetClass:
    """The test images of another data set, labelled with their masks and scored."""
    others = part(more_parts)
    for sample in others.test:
        label_sample(info, sample)
    score_all(info)
    return others


def worse_model(info: ModelInfo) -> ModelInfo:
    """Another model of the same class, which has scored all labelled images."""
    worse_copy(info.folder, info.folder.parent / "worse")
    worse = read_info(info.folder.parent / "worse")
    score_all(worse)
    return worse


def on_labels(old: ModelInfo, new: ModelInfo) -> LabelComparison:
    return compare_on_labels(old, new, books=(read_book(old), read_book(new)), seen=(read_seen(old), read_seen(new)))


def test_the_comparison_is_that_of_two_evaluations_of_the_same_images(
    info: ModelInfo, labelled: DatasetClass, more_parts: Path
) -> None:
    worse = worse_model(info)
    found = on_labels(info, worse)
    by_labels = compare(found.old, found.new)
    of_files = compare(*(evaluate_class(each.folder, labelled, source=str(more_parts)) for each in (info, worse)))
    assert (by_labels.n_good, by_labels.n_defect) == (of_files.n_good, of_files.n_defect)
    # kept maps are in half precision
    tolerance = {name: 1e-9 if name.startswith("image") else 5e-3 for name in METRIC_NAMES}
    for name in METRIC_NAMES:
        for side in ("a", "b"):
            expected = getattr(of_files.differences[name], side)
            assert getattr(by_labels.differences[name], side) == pytest.approx(expected, abs=tolerance[name]), name
    assert all(each.interval is not None for each in by_labels.differences.values())
    opened = open_image(found.old, 0)
    assert opened.image.shape[-1] == 3 and opened.anomaly_map.max() == pytest.approx(found.old.scores[0], rel=1e-3)


def test_it_is_made_as_a_job_and_found_again_until_a_label_changes(info: ModelInfo, labelled: DatasetClass) -> None:
    worse = worse_model(info)
    before = on_labels(info, worse)
    assert find_comparison(before.old, before.new) is None
    job = LABEL_COMPARISON.submit(LabelComparisonRequest(old=str(info.folder), new=str(worse.folder)))
    assert queue().wait(job, LONG).state == "done"
    found = find_comparison(before.old, before.new)
    assert found is not None and found.differences["aupro"].interval is not None
    decide(info, before.old.images[0].content, "unsure")
    after = on_labels(info, worse)
    assert find_comparison(after.old, after.new) is None


def test_masks_of_which_nothing_is_left_and_changed_files_are_told(
    info: ModelInfo, labelled: DatasetClass, tmp_path: Path
) -> None:
    side = on_labels(info, info).old
    index = next(index for index, each in enumerate(side.images) if each.mask_path)
    masked = side.mask_of(index)
    assert masked is not None and masked.any() and side.mask_of(_first(side, "good")) is not None
    clear_maps = workspace() / "cache" / "maps"
    shutil.rmtree(clear_maps)
    with pytest.raises(DataError, match="is not kept"):
        side.map_of(index)
    gone = replace(side.judged.images[index], file=str(tmp_path / "gone.png"))
    moved = evaluation_of_labels(replace(side.judged, images=(gone,)))
    with pytest.raises(ImageError, match="any more"):
        moved.file_of(0)


def _first(side: LabelledEvaluation, label: str) -> int:
    return next(index for index, each in enumerate(side.judged.images) if each.label == label)


@pytest.fixture
def own(tiny_model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelInfo:
    return read_info(Path(shutil.copytree(tiny_model[0], tmp_path / "models" / "parts" / "machined_disc" / "new")))


def test_what_was_decided_is_noted_with_the_new_model(own: ModelInfo, models: tuple[ModelInfo, ModelInfo]) -> None:
    assert read_metadata(own.folder).note == ""
    comparison = compared((models[0], own))
    first = note_outcome(comparison, who=" Ada ", used=False)
    assert first.startswith(
        f"Not used; {models[0].folder.name} was kept: compared with {models[0].folder.name} on 3 good"
    )
    assert "and 3 defective labelled images. Ada, 20" in first
    second = note_outcome(comparison, who="Ben", used=True)
    assert read_metadata(own.folder).note.splitlines() == [first, second] and second.startswith("Used from now on")
    assert read_metadata(models[0].folder).note == ""


def test_nobody_and_a_model_that_is_gone_are_refused(own: ModelInfo, models: tuple[ModelInfo, ModelInfo]) -> None:
    with pytest.raises(ConfigError, match="Nobody is named"):
        note_outcome(compared((models[0], own)), who=" ", used=True)
    shutil.rmtree(own.folder)
    with pytest.raises(CheckpointError):
        note_outcome(compared((models[0], own)), who="Ada", used=True)


def test_watched_folders_go_with_the_model_in_use(
    own: ModelInfo, models: tuple[ModelInfo, ModelInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keep_watching", "submit_scoring"):
        monkeypatch.setattr(adopt, name, lambda *_: None)
    comparison = compared((models[0], own))
    with workspace_database().write() as session:
        begin_watch(session, folder=Path("/line 1"), model_folder=models[0].folder)

    def watched() -> list[str]:
        with workspace_database().read() as session:
            return [row.model_folder for row in all_watches(session, active=True)]

    use_new_model(comparison, who="Ada")
    assert read_metadata(own.folder).adopted and watched() == [str(own.folder)]
    go_back(comparison, who="Ada")
    assert not read_metadata(own.folder).adopted and watched() == [str(models[0].folder)]
    assert read_metadata(own.folder).note.splitlines()[1].startswith("Not used")
