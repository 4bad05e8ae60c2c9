import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad.digests import image_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.inference.predict import Predictor
from skrd4ad.metrics.consequences import Costs
from skrd4ad.model_folder.folder import CALIBRATION, read_history, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import ScoringMask
from skrd4ad.services.calibration import scores as module
from skrd4ad.services.calibration.calibrate import (
    Distributions,
    ThresholdChoice,
    propose,
    recalibrate,
    save,
    score_distributions,
    scoring_mask_with,
)
from skrd4ad.services.calibration.scores import ScoredImage
from skrd4ad.types import GOOD, DatasetClass, Sample


@pytest.fixture
def folder(tiny_model: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model[0], tmp_path / "parts" / "machined_disc" / "run"))


@pytest.fixture
def new_good(tiny_data: Path, tmp_path: Path) -> list[Path]:
    """Good images nobody has seen: those of training, turned."""
    paths = []
    for path in sorted((tiny_data / "machined_disc" / "train" / "good").glob("*.png"))[:5]:
        turned = tmp_path / f"new_{path.name}"
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(turned)
        paths.append(turned)
    return paths


def made_up(folder: Path, *, normals: int = 20, are_tests: bool = False, labelled: bool = True) -> Distributions:
    rng = np.random.default_rng(0)
    good = [ScoredImage(Path(f"g{n}"), GOOD, float(s)) for n, s in enumerate(rng.normal(1, 0.2, 30))]
    bad = [ScoredImage(Path(f"b{n}"), "dent", float(s)) for n, s in enumerate(rng.normal(1.6, 0.3, 20))]
    return Distributions(
        info=read_info(folder),
        mask=ScoringMask(),
        ignore=None,
        normals=tuple(sorted(rng.normal(1, 0.2, normals).tolist())),
        normals_data="20 held-out good images of training",
        normals_are_tests=False,
        labelled=(*good, *bad) if labelled else (),
        labelled_data="30 good and 20 defective labelled images of x/y",
        labelled_are_tests=are_tests,
        warnings=(),
    )


def test_distributions_hold_what_the_model_says_of_each_image(folder: Path, disc: DatasetClass) -> None:
    found = score_distributions(folder, disc)
    first = read_info(folder).calibration
    assert first is not None
    assert (found.normals, found.normals_data) == (first.scores, "3 held-out good images of training")
    assert [image.path for image in found.labelled] == [sample.path for sample in disc.test]
    assert [image.defect_type for image in found.labelled] == [sample.defect_type for sample in disc.test]
    assert found.labelled_are_tests
    assert found.warnings == ()
    predictor = Predictor.load(folder)
    for image in found.labelled[::5]:
        assert image.score == pytest.approx(predictor.predict(np.asarray(Image.open(image.path))).score, rel=1e-4)
    assert (len(found.good_scores), len(found.defect_scores)) == (4, 8)


def test_a_second_look_needs_no_model(folder: Path, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch) -> None:
    first = score_distributions(folder, disc)
    monkeypatch.setattr(module, "load_runtime", lambda *_args, **_settings: pytest.fail("the model was loaded"))
    assert score_distributions(folder, disc).labelled == first.labelled


def test_another_surface_scores_the_held_out_images_again(folder: Path, disc: DatasetClass) -> None:
    plain = score_distributions(folder, disc)
    found = score_distributions(folder, disc, mask=ScoringMask(min_area=30))
    assert len(found.normals) == len(plain.normals) == 3
    assert all(a < b for a, b in zip(found.normals, plain.normals, strict=True))
    again = score_distributions(folder, disc, mask=ScoringMask(min_area=1, ignored=np.zeros((4, 4), bool)))
    assert again.normals == plain.normals  # nothing is ignored: the same surface
    without = score_distributions(folder, None, mask=ScoringMask(min_area=30))
    assert without.normals == ()
    assert "taken again" in without.warnings[0]


def test_held_out_images_are_found_again_and_counted_when_the_data_has_changed(
    folder: Path, disc: DatasetClass
) -> None:
    held_out = set(read_info(folder).data["held_out"])
    first = next(s for s in disc.train if image_digest(s.path) in held_out)
    mask = ScoringMask(min_area=30)
    whole = score_distributions(folder, disc, mask=mask)
    others = replace(disc, samples=tuple(s for s in disc.samples if s in disc.test or image_digest(s.path) in held_out))
    assert score_distributions(folder, others, mask=mask).normals == whole.normals
    fewer = score_distributions(folder, replace(disc, samples=tuple(s for s in disc.samples if s != first)), mask=mask)
    assert len(fewer.normals) == 2 and fewer.normals_data == "2 of 3 held-out good images of training"
    assert any(w.startswith("1 of the 3 images that were held out") for w in fewer.warnings)
    none = score_distributions(folder, replace(disc, samples=disc.test), mask=mask)
    assert none.normals == () and none.warnings[-1].startswith("None of the 3 held-out good images is in the data")


def test_images_learnt_from_are_left_out_with_a_warning(folder: Path, disc: DatasetClass, new_good: list[Path]) -> None:
    training = [sample.path for sample in disc.train]
    found = score_distributions(folder, disc, normals=[*training, *new_good])
    assert len(found.normals) == 3 + len(new_good)  # the three held out were not learnt from
    assert any(w.startswith("9 of 17 good images given are images the model has learnt from") for w in found.warnings)
    labelled = replace(disc, samples=tuple(Sample(path, "test", 0, GOOD) for path in [*training, *new_good]))
    assert len(score_distributions(folder, disc, labelled=labelled).labelled) == 3 + len(new_good)


def test_only_images_learnt_from_are_refused(folder: Path, disc: DatasetClass) -> None:
    held = score_distributions(folder, disc, normals=[s.path for s in disc.train]).normals
    assert len(held) == 3
    learnt = [s.path for s in disc.train if s.path not in {p.path for p in _held_out(folder, disc)}]
    with pytest.raises(DataError, match="All 9 good images given"):
        score_distributions(folder, disc, normals=learnt)


def _held_out(folder: Path, disc: DatasetClass) -> list[Sample]:
    return module.learnt_and_held_out(read_info(folder), disc)[1]


def test_without_the_training_images_the_check_is_said_to_be_missing(folder: Path, new_good: list[Path]) -> None:
    found = score_distributions(folder, None, normals=new_good)
    assert (len(found.normals), found.normals_data) == (5, "5 good images given")
    assert any("cannot be checked" in warning for warning in found.warnings)


def test_test_images_given_as_good_images_are_found_out(folder: Path, disc: DatasetClass, tmp_path: Path) -> None:
    copy = tmp_path / "renamed.png"
    shutil.copy(next(s.path for s in disc.test if s.label == 0), copy)
    found = score_distributions(folder, disc, labelled=replace(disc, samples=()), normals=[copy])
    assert found.normals_are_tests
    info = save(propose(found, ThresholdChoice(rate=0.5)), who="A. Mason")
    assert info.calibration is not None and info.calibration.test_fitted
    # and the scores that this version holds stay what they are
    later = score_distributions(folder, None)
    assert propose(later, ThresholdChoice(rate=0.5)).calibration.test_fitted


@pytest.mark.parametrize(
    ("choice", "method", "n", "fitted"),
    [
        (ThresholdChoice(way="rate", rate=0.1), "split-conformal", 20, False),
        (ThresholdChoice(way="rate", rate=0.1, review_escape_rate=0.01), "split-conformal", 20, True),
        (ThresholdChoice(way="f1"), "f1-max", 50, True),
        (ThresholdChoice(way="balanced", review_rate=0.5), "balanced-accuracy", 50, True),
        (ThresholdChoice(way="cost", costs=Costs(escape=50, false_reject=2, review=1)), "least-cost", 50, True),
        (ThresholdChoice(way="manual", threshold=1.3, review_threshold=1.1), "manual", 20, True),
    ],
)
def test_every_way_names_its_method_and_what_it_was_fitted_on(
    folder: Path, choice: ThresholdChoice, method: str, n: int, fitted: bool
) -> None:
    for are_tests in (True, False):
        found = propose(made_up(folder, are_tests=are_tests), choice)
        calibration = found.calibration
        assert (calibration.method, calibration.n, calibration.test_fitted) == (method, n, fitted and are_tests)
        assert any("Test-fitted" in warning for warning in found.warnings) == (fitted and are_tests)
        assert calibration.pixel_threshold == calibration.lower_threshold <= calibration.image_threshold
        assert found.consequences.good.total == 30


def test_a_rate_is_promised_from_the_held_out_images_only(folder: Path) -> None:
    scores = made_up(folder)
    found = propose(scores, ThresholdChoice(rate=0.1, review_rate=0.3))
    assert found.calibration.image_threshold == scores.normals[18]  # rank ceil(21 * 0.9) = 19
    assert found.calibration.review_threshold == scores.normals[14]
    assert found.calibration.certified_false_reject_rate == 0.1
    assert found.interval is not None and found.interval[0] < 0.1 < found.interval[1]
    assert "at most 10.0 %" in found.promise


def test_too_few_images_are_said_to_certify_too_little(folder: Path) -> None:
    found = propose(made_up(folder, normals=142), ThresholdChoice(rate=0.001))
    assert found.warnings[0].startswith("142 held-out good images cannot certify a false-reject rate below 0.699 %")


def test_other_ways_promise_nothing(folder: Path) -> None:
    found = propose(made_up(folder), ThresholdChoice(way="f1"))
    assert found.promise.startswith("Nothing is promised")
    assert (found.interval, found.calibration.certified_false_reject_rate) == (None, None)


def test_what_is_not_there_is_asked_for(folder: Path) -> None:
    bare = made_up(folder, labelled=False)
    with pytest.raises(DataError, match="no held-out good images"):
        propose(replace(bare, normals=()), ThresholdChoice(rate=0.1))
    for choice in (
        ThresholdChoice(way="f1"),
        ThresholdChoice(way="balanced"),
        ThresholdChoice(way="cost", costs=Costs(escape=1, false_reject=1)),
    ):
        with pytest.raises(DataError, match="There are 0"):
            propose(bare, choice)
    alone = propose(bare, ThresholdChoice(rate=0.1))
    assert alone.consequences.escapes is None
    assert any("No defect is known" in warning for warning in alone.warnings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"way": "magic"}, "the way is 'magic'"),
        ({"way": "manual"}, "needs a threshold"),
        ({"way": "cost"}, "needs the costs"),
        ({"threshold": 1.0}, "is for the way 'manual'"),
        ({"rate": 0.1, "review_rate": 0.05}, "not above the false-reject rate"),
        ({"review_rate": 0.1, "review_escape_rate": 0.1}, "give one"),
        ({"way": "manual", "threshold": 1.0, "review_rate": 0.1}, "give a review threshold"),
    ],
)
def test_a_choice_that_contradicts_itself_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ThresholdChoice(**settings)  # type: ignore[arg-type]


def test_saving_signs_the_proposal_and_keeps_the_mask(folder: Path, disc: DatasetClass) -> None:
    mask = np.zeros((20, 30), bool)
    mask[:5] = True
    surface = scoring_mask_with(ScoringMask(), min_area=3, mask=mask)
    found = score_distributions(folder, disc, labelled=replace(disc, samples=()), mask=surface)
    proposal = propose(found, ThresholdChoice(rate=0.3))
    with pytest.raises(ConfigError, match="Nobody is named"):
        save(proposal, who=" ")
    info = save(proposal, who=" A. Mason ", note="the label moves")
    stored = info.calibration
    assert stored is not None
    assert (stored.version, stored.who, stored.note, stored.min_area) == (2, "A. Mason", "the label moves", 3)
    assert stored.ignore == "ignore-2.png"
    # and the next one, under the same surface, needs neither the data nor another mask
    again = propose(score_distributions(folder, None), ThresholdChoice(rate=0.4))
    assert (again.new_mask, again.calibration.ignore, again.calibration.scores) == (None, "ignore-2.png", stored.scores)


def test_recalibrating_changes_the_thresholds_and_not_the_model(
    folder: Path, disc: DatasetClass, new_good: list[Path]
) -> None:
    before = (folder / "model.safetensors").read_bytes()
    info = recalibrate(folder, new_good, who="A. Mason", rate=0.2, review_rate=0.5, data=disc)
    stored = info.calibration
    assert stored is not None
    assert (stored.version, stored.n, stored.data, stored.test_fitted) == (2, 5, "5 good images given", False)
    assert stored.image_threshold == stored.scores[4]
    assert stored.review_threshold == stored.scores[2]
    assert (folder / "model.safetensors").read_bytes() == before
    with pytest.raises(DataError, match="no new good images"):
        recalibrate(folder, [], who="A. Mason")


def test_a_model_without_calibration_can_be_given_one(folder: Path, new_good: list[Path]) -> None:
    (folder / CALIBRATION).unlink()
    empty = score_distributions(folder, None)
    assert empty.normals == ()
    info: ModelInfo = recalibrate(folder, new_good, who="A. Mason", rate=0.2)
    assert info.calibration is not None and info.calibration.version == 1
    history = read_history(folder)
    assert history is not None and len(history.versions) == 1


def test_a_damaged_cache_is_made_again(folder: Path, disc: DatasetClass, tmp_path: Path) -> None:
    first = score_distributions(folder, disc)
    (tmp_path / "home" / "cache" / "predictions.sqlite3").write_bytes(b"no database" * 500)
    assert score_distributions(folder, disc).labelled == first.labelled


def test_a_surface_that_shows_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="whole image"):
        scoring_mask_with(ScoringMask(), mask=np.ones((2, 2), bool))
    with pytest.raises(ConfigError, match="allowed: 1 or more"):
        scoring_mask_with(ScoringMask(), min_area=0)
    kept = ScoringMask(min_area=4, ignored=np.eye(3, dtype=bool))
    assert scoring_mask_with(kept).ignored is kept.ignored
    assert scoring_mask_with(kept, mask=np.zeros((3, 3), bool)).ignored is None
