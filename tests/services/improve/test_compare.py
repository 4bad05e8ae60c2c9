import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.metrics.ranking import auroc
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.improve import adopt
from skrd4ad.services.improve.adopt import go_back, note_outcome, use_new_model
from skrd4ad.services.improve.compare import LabelComparison, PairedImage, auroc_difference, compare_on_labels
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import LabelBook, LabelledImage
from skrd4ad.storage.watched_folders import all_watches, begin_watch
from skrd4ad.types import Verdict

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


def test_both_models_are_judged_by_their_own_limits_on_the_same_images(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared(models)
    assert [each.digest for each in found.old.images] == [each.digest for each in found.new.images] == list("abcdeg")
    truth = [0, 0, 0, 1, 1, 1]
    assert found.old.figures.auroc == auroc(truth, [OLD[name] for name in "abcdeg"])
    assert found.new.figures.auroc == auroc(truth, [NEW[name] for name in "abcdeg"])
    assert found.old.agreement is not None and found.new.agreement is not None
    assert (found.old.agreement.agreed, found.old.agreement.compared) == (2, 6)
    assert (found.new.agreement.agreed, found.new.agreement.compared, found.new.agreement.reviewed) == (2, 4, 2)
    assert (found.seen, found.without_score, found.is_exact) == (0, 0, True)


def test_the_images_whose_verdict_changes_are_paired(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = {pair.image.digest: (pair.old, pair.new, pair.turn, pair.new_score) for pair in compared(models).changes}
    assert found == {
        "a": ("OK", "REVIEW", "worse", 4.5),
        "b": ("NG", "OK", "better", 3.0),
        "d": ("OK", "REVIEW", "better", 4.8),
    }


@pytest.mark.parametrize(
    ("label", "old", "new", "turn"),
    [
        ("good", "REVIEW", "OK", "better"),
        ("good", "REVIEW", "NG", "worse"),
        ("good", "OK", "OK", "same"),
        ("defect", "REVIEW", "NG", "better"),
        ("defect", "NG", "OK", "worse"),
    ],
)
def test_a_turn_is_judged_by_the_label(label: str, old: Verdict, new: Verdict, turn: str) -> None:
    assert PairedImage(image("x", label, 1.0), old, new, 2.0).turn == turn


def test_what_a_model_has_seen_is_compared_for_neither(models: tuple[ModelInfo, ModelInfo]) -> None:
    seen = (
        replace(NOTHING, learnt=frozenset("a"), held_out=frozenset("b")),
        replace(NOTHING, learnt=frozenset("ac"), held_out=frozenset("d")),
    )
    found = compared(models, seen=seen)
    assert [each.digest for each in found.new.images] == list("eg")
    assert found.seen == 4 and found.old.figures.n_good == 0 and found.old.figures.auroc is None
    assert not compared(models, seen=(NOTHING, replace(NOTHING, is_exact=False))).is_exact


def test_an_image_without_a_score_of_both_waits(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared(models, old={"a": None}, new={"e": None})
    assert [each.digest for each in found.old.images] == list("bcdg") and found.without_score == 2


def test_a_label_that_changed_between_two_readings_is_not_compared(models: tuple[ModelInfo, ModelInfo]) -> None:
    first = book([image(name, LABELS[name], OLD[name]) for name in LABELS])
    second = book([image(name, "good" if name == "d" else LABELS[name], NEW[name]) for name in LABELS if name != "e"])
    found = compare_on_labels(*models, books=(first, second), seen=(NOTHING, NOTHING))
    assert [each.digest for each in found.new.images] == list("abcg")


def test_images_that_limits_were_taken_from_are_counted(models: tuple[ModelInfo, ModelInfo]) -> None:
    old = with_limits(models[0], review=None, reject=1.0, scores=(0.5, 0.8, 1.2, 7.0))
    found = compared((old, models[1]))
    assert (found.old.in_sample, found.new.in_sample) == (2, 0)


def test_without_limits_scores_are_compared_all_the_same(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = compared((replace(models[0], calibration=None), models[1]), old=None)
    assert found.pairs == () and found.changes == ()
    assert found.old.agreement is None


def test_the_difference_has_an_interval_of_the_same_images(models: tuple[ModelInfo, ModelInfo]) -> None:
    found = auroc_difference(compared(models))
    assert found.difference == pytest.approx((found.b or 0) - (found.a or 0)) and found.interval is not None
    same = auroc_difference(compared(models, new=dict(OLD)))
    assert same.difference == 0 and not same.is_clear


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
