import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.improve.agreement import (
    Labels,
    agreement,
    auroc_interval,
    closeness_of_labelled,
    image_figures,
    labels_of,
)
from skrd4ad.storage.labelled_images import LabelBook, LabelledImage

NOTHING = SeenImages(learnt=frozenset(), held_out=frozenset(), train=frozenset(), tests=frozenset(), is_exact=True)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def image(digest: str, label: str, score: float | None, **values: Any) -> LabelledImage:
    given = {
        "name": f"{digest}.png",
        "file": f"uploads/{digest}.png",
        "split": None,
        "defect_type": None,
        "mask_file": None,
        "reviewer": "Ada",
        "calibration": 1,
    }
    return LabelledImage(digest=digest, label=label, score=score, **{**given, **values})  # type: ignore[arg-type]


def book(images: Sequence[LabelledImage]) -> LabelBook:
    return LabelBook(
        dataset="parts",
        class_name="disc",
        model_digest="m",
        images={each.digest: each for each in images},
        decisions=(len(images), len(images)),
        predictions=(len(images), NOON),
        in_class=len(images) + 5,
    )


@pytest.fixture
def info(tiny_model: tuple[Path, Path]) -> ModelInfo:
    found = read_info(tiny_model[0])
    assert found.calibration is not None
    return replace(found, calibration=replace(found.calibration, image_threshold=0.5, review_threshold=0.4))


def labels(info: ModelInfo, *images: LabelledImage, seen: SeenImages = NOTHING) -> Labels:
    return labels_of(info, book(images), seen)


MIXED = (
    image("a", "good", 0.1),
    image("b", "good", 0.4),
    image("c", "good", 0.45),
    image("d", "good", 0.5),
    image("e", "good", 0.7),
    image("f", "defect", 0.9),
    image("g", "defect", 0.3),
    image("h", "defect", 0.41),
    image("i", "unsure", 0.8),
    image("j", "unsure", 0.2),
    image("k", "defect", None),
)


def test_verdicts_are_counted_beside_labels(info: ModelInfo) -> None:
    found = agreement(labels(info, *MIXED))
    assert found is not None
    assert (found.good.ok, found.good.review, found.good.ng) == (2, 2, 1)
    assert (found.defect.ok, found.defect.review, found.defect.ng) == (1, 1, 1)
    assert (found.unsure.ok, found.unsure.review, found.unsure.ng) == (1, 0, 1)
    assert (found.agreed, found.compared, found.reviewed) == (3, 5, 3)
    assert found.rate == pytest.approx(3 / 5)
    assert [each.digest for each in found.false_rejects] == ["e"]
    assert [each.digest for each in found.escapes] == ["g"]


def test_other_limits_may_be_given_and_without_any_there_is_no_agreement(info: ModelInfo) -> None:
    found = agreement(labels(info, *MIXED), reject=0.2)
    assert found is not None and (found.good.ok, found.good.review, found.good.ng) == (1, 0, 4)
    without = replace(info, calibration=None)
    assert agreement(labels(without, *MIXED)) is None
    assert agreement(labels(without, *MIXED), reject=0.2) is not None
    only_unsure = agreement(labels(info, MIXED[8]))
    assert only_unsure is not None and only_unsure.rate is None


def test_figures_are_those_of_an_independent_reference(info: ModelInfo) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.3
    scores = (rng.normal(0, 1, 60) + truth).astype(np.float32)
    made = [
        image(f"{index:03d}", "defect" if bad else "good", float(score))
        for index, (bad, score) in enumerate(zip(truth, scores, strict=True))
    ]
    found = image_figures(labels(info, *made, image("x", "unsure", 9.0), image("y", "good", None)).images)
    assert found.image_auroc == pytest.approx(roc_auc_score(truth, scores))
    assert found.image_ap == pytest.approx(average_precision_score(truth, scores))
    assert (found.n_good, found.n_defect) == (int((~truth).sum()), int(truth.sum()))
    interval = auroc_interval(made)
    assert interval is not None and interval.low < (found.image_auroc or 0) < interval.high


def test_with_one_kind_only_there_is_no_figure(info: ModelInfo) -> None:
    for images in ((), (MIXED[0],), (MIXED[5],)):
        found = image_figures(labels(info, *images).images)
        assert (found.image_auroc, found.image_ap) == (None, None)
        assert found.n_good + found.n_defect == len(images)
        assert auroc_interval(images) is None


def test_images_learnt_from_count_nowhere(info: ModelInfo) -> None:
    found = labels(info, *MIXED, seen=replace(NOTHING, learnt=frozenset({"a", "f"})))
    assert found.learnt == 2 and {each.digest for each in found.images} == set("bcdeghijk")
    assert (found.in_class, found.without_score) == (len(MIXED) + 5, 1)
    assert image_figures(found.images).n_good == 4


def test_when_it_is_not_known_what_was_learnt_training_images_count_nowhere(info: ModelInfo) -> None:
    images = (image("a", "good", 0.1, split="train"), image("b", "good", 0.1, split="test"))
    assert labels(info, *images).learnt == 0
    unsure = labels(info, *images, seen=replace(NOTHING, is_exact=False))
    assert (unsure.learnt, unsure.is_exact) == (1, False)
    assert [each.digest for each in unsure.images] == ["b"]


def calibrated(folder: Path, **values: Any) -> ModelInfo:
    current = read_info(folder).calibration
    assert current is not None
    return save_calibration(folder, replace(current, **values))


def test_a_score_of_other_pixels_does_not_count(
    tiny_model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    folder = Path(shutil.copytree(tiny_model[0], tmp_path / "run"))
    versions = [image(str(version), "good", 0.1, calibration=version) for version in (1, 2, 3)]
    by_hand = image("hand", "good", 0.1, calibration=None)

    def counted(info: ModelInfo) -> list[str]:
        found = labels_of(info, book([*versions, by_hand]), NOTHING)
        return [each.digest for each in found.images if each.score is not None]

    assert counted(read_info(folder)) == ["1", "hand"]
    assert counted(calibrated(folder, image_threshold=0.9, heat_top=2.0)) == ["1", "2", "hand"]
    assert counted(calibrated(folder, min_area=9)) == ["3"]
    assert isinstance(read_info(folder).calibration, Calibration)


def test_the_choice_of_what_was_labelled_shows_in_the_scores(info: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {f"o{index}": 0.5 + 0.1 * index for index in range(1, 21)}

    class NoDatabase:
        def read(self) -> Any:
            return nullcontext()

    monkeypatch.setattr("skrd4ad.services.improve.agreement.workspace_database", NoDatabase)
    monkeypatch.setattr("skrd4ad.services.improve.agreement.unlabelled_scores", lambda *_, **__: others)
    near = [image(f"n{index:02d}", "good", 0.5 - 0.001 * index) for index in range(12)]
    assert closeness_of_labelled(labels(info, *near), NOTHING) == 1.0
    far = [image(f"n{index:02d}", "good", 9.0) for index in range(12)]
    assert closeness_of_labelled(labels(info, *far), NOTHING) == 0.0
    assert closeness_of_labelled(labels(info, *near[:9]), NOTHING) is None
    learnt = replace(NOTHING, learnt=frozenset(list(others)[:11]))
    assert closeness_of_labelled(labels(info, *near), learnt) is None
    assert closeness_of_labelled(labels(replace(info, calibration=None), *near), NOTHING) is None
