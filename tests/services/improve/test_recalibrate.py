from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.documents import to_plain
from skrd4ad.errors import DataError
from skrd4ad.metrics.thresholds import conformal_threshold
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import acting_as
from skrd4ad.services.calibration.calibrate import ThresholdChoice, save, use_version
from skrd4ad.services.history import HistoryFilter, details_of, history_page
from skrd4ad.services.improve.recalibrate import confirmed_normals, recalibration
from skrd4ad.types import DatasetClass
from tests.loop_world import decide, known_of, part, put, say


def labelled(info: ModelInfo, more_parts: Path, *, good: list[float], defects: list[float]) -> None:
    """Images labelled by two people, with the given scores."""
    others = part(more_parts)
    bad = [s for s in others.samples if s.label == 1]
    scores = {}
    for index, (sample, score) in enumerate(zip(others.train, good, strict=False)):
        digest = put(info, sample.path)
        decide(info, digest, "good", who=("Ada", "Ben")[index % 2])
        scores[digest] = score
    for sample, score in zip(bad, defects, strict=False):
        digest = put(info, sample.path)
        decide(info, digest, "defect", who="Cy", kind=sample.defect_type)
        scores[digest] = score
    say(info, scores)


GOOD = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_limits_come_from_the_images_labelled_good(info: ModelInfo, disc: DatasetClass, more_parts: Path) -> None:
    labelled(info, more_parts, good=GOOD, defects=[0.75, 0.95, 3.0])
    known = known_of(info, disc)
    found = recalibration(known.labels, known.seen, ThresholdChoice(way="rate", rate=0.2), with_defects=True)
    new = found.proposal.calibration
    assert new.image_threshold == conformal_threshold(GOOD, false_reject_rate=0.2).threshold == 0.9
    assert (found.n, new.n, new.scores) == (10, 10, tuple(GOOD))
    assert found.certifiable == pytest.approx(1 / 11)
    assert new.data == "10 images labelled good by Ada, Ben"
    assert not new.test_fitted
    assert (found.after.good.ok, found.after.good.ng) == (9, 1)
    assert (found.after.defect.ok, found.after.defect.ng) == (1, 2)
    assert new.expected["escape_rate"] == pytest.approx(1 / 3)


def test_the_verdicts_that_would_change_are_named(info: ModelInfo, disc: DatasetClass, more_parts: Path) -> None:
    now = info.calibration
    assert now is not None
    limit = now.image_threshold
    labelled(info, more_parts, good=[limit * 0.5, limit * 1.1, limit * 1.3], defects=[limit * 1.2])
    known = known_of(info, disc)
    found = recalibration(known.labels, known.seen, ThresholdChoice(way="rate", rate=0.01), with_defects=True)
    assert found.proposal.calibration.image_threshold == pytest.approx(limit * 1.3)
    assert found.before is not None and (found.before.good.ng, found.before.defect.ng) == (2, 1)
    changes = [(image.label, before, after) for image, before, after in found.changes]
    assert changes == [("good", "NG", "OK"), ("defect", "NG", "OK"), ("good", "NG", "OK")]
    assert any("cannot certify a false-reject rate below 25" in each for each in found.proposal.warnings)


def test_a_review_limit_may_rest_on_labelled_defects(info: ModelInfo, disc: DatasetClass, more_parts: Path) -> None:
    labelled(info, more_parts, good=GOOD, defects=[0.75, 0.95, 3.0])
    known = known_of(info, disc)
    choice = ThresholdChoice(way="rate", rate=0.2, review_escape_rate=0.0)
    found = recalibration(known.labels, known.seen, choice, with_defects=True)
    review = found.proposal.calibration.review_threshold
    assert review is not None and review < 0.75 and found.after.defect.ok == 0
    assert "3 images labelled defective by Cy" in found.proposal.calibration.data
    with pytest.raises(DataError):
        recalibration(known.labels, known.seen, choice, with_defects=False)


def test_images_learnt_from_set_no_limit(info: ModelInfo, disc: DatasetClass) -> None:
    digests = [put(info, sample.path, split="train") for sample in disc.train]
    for digest in digests:
        decide(info, digest, "good")
    say(info, dict.fromkeys(digests, 0.5))
    known = known_of(info, disc)
    assert {each.digest for each in confirmed_normals(known.labels)} == known.seen.held_out
    assert known.labels.learnt == len(disc.train) - len(known.seen.held_out)


@pytest.mark.parametrize("by", ["split", "content"])
def test_limits_from_test_images_are_marked(info: ModelInfo, disc: DatasetClass, by: str) -> None:
    test = next(sample for sample in disc.test if sample.label == 0)
    digest = put(info, test.path, split="test" if by == "split" else None)
    decide(info, digest, "good")
    say(info, {digest: 0.5})
    known = known_of(info, disc)
    seen = replace(known.seen, tests=frozenset()) if by == "split" else known.seen
    found = recalibration(known.labels, seen, ThresholdChoice(way="rate", rate=0.5), with_defects=True)
    assert found.proposal.calibration.test_fitted


def test_what_cannot_be_checked_is_said(info: ModelInfo, more_parts: Path) -> None:
    earlier = {name: value for name, value in info.data.items() if name not in ("learnt", "held_out")}
    info = replace(info, data=earlier)  # of a version that did not record them
    labelled(info, more_parts, good=GOOD[:3], defects=[])
    unscored = put(info, part(more_parts).train[-1].path)
    decide(info, unscored, "good")
    known = known_of(info, None)
    found = recalibration(known.labels, known.seen, ThresholdChoice(way="rate", rate=0.3), with_defects=True)
    told = " ".join(found.proposal.warnings)
    assert "cannot be checked" in told and "1 labelled images have no score" in told


def test_without_a_good_image_there_is_no_limit(info: ModelInfo, disc: DatasetClass, more_parts: Path) -> None:
    labelled(info, more_parts, good=[], defects=[0.5])
    known = known_of(info, disc)
    with pytest.raises(DataError, match="is labelled good and has a score"):
        recalibration(known.labels, known.seen, ThresholdChoice(), with_defects=True)


def test_a_saved_calibration_is_traceable_in_the_database(
    info: ModelInfo, disc: DatasetClass, more_parts: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    labelled(info, more_parts, good=GOOD, defects=[])
    known = known_of(info, disc)
    found = recalibration(known.labels, known.seen, ThresholdChoice(way="rate", rate=0.2), with_defects=True)
    saved = save(found.proposal, who=" A. Mason ", note="new lamp")
    with acting_as("Bo"):
        use_version(info.folder, 1)
    chosen, stored = history_page(HistoryFilter()).entries
    assert (stored.what, stored.who, stored.model_folder) == ("recalibrated", "A. Mason", str(info.folder))
    assert (chosen.what, chosen.who, details_of(chosen)["version"]) == ("calibration chosen", "Bo", 1)
    assert saved.calibration is not None
    values = to_plain(saved.calibration)
    assert values.pop("scores") and values["note"] == "new lamp"
    assert details_of(stored) == {"version": 2, "calibration": values}


def test_a_calibration_is_saved_without_the_database(
    info: ModelInfo,
    disc: DatasetClass,
    more_parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    labelled(info, more_parts, good=GOOD, defects=[])
    known = known_of(info, disc)
    found = recalibration(known.labels, known.seen, ThresholdChoice(way="rate", rate=0.2), with_defects=True)
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", f"sqlite:///{tmp_path}/no/such/folder/x.db")
    with caplog.at_level("WARNING", logger="skrd4ad"):
        assert save(found.proposal, who="Ada").calibration_versions == 2
    assert "the history does not tell that this was recalibrated" in caplog.text
