import pytest

from skrd4ad.errors import ChallengeError, ConfigError, DocumentError, ImageError
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.calibration.calibrate import Proposal, propose, save, use_version
from skrd4ad.services.calibration.scores import score_distributions
from skrd4ad.services.calibration.threshold_choice import ThresholdChoice
from skrd4ad.services.history import details_of, history_page
from skrd4ad.services.study.challenge import (
    add_challenge_parts,
    challenge_parts,
    judge_challenge,
    remove_challenge_parts,
)
from skrd4ad.storage.history import HistoryFilter
from skrd4ad.types import DatasetClass

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def challenged(info: ModelInfo, disc: DatasetClass) -> ModelInfo:
    """A model whose class has the lowest good test image and the highest defect as challenge parts."""
    found = score_distributions(info.folder, disc)
    by_score = sorted(found.labelled, key=lambda image: image.score)
    good = next(image for image in by_score if image.defect_type == "good")
    defect = next(image for image in reversed(by_score) if image.defect_type != "good")
    add_challenge_parts(info, [("master good.png", good.path.read_bytes())], "OK")
    add_challenge_parts(info, [("master defect.png", defect.path.read_bytes())], "NG")
    return info


def proposal_at(info: ModelInfo, disc: DatasetClass, threshold: float) -> Proposal:
    found = score_distributions(info.folder, disc)
    return propose(found, ThresholdChoice(way="manual", threshold=threshold, review_threshold=None))


def between(info: ModelInfo) -> float:
    good, defect = (outcome.score for outcome in judge_challenge(info))
    assert good is not None and defect is not None and good < defect
    return (good + defect) / 2


def test_limits_that_fail_a_challenge_part_need_a_reason_which_the_history_keeps(
    challenged: ModelInfo, disc: DatasetClass
) -> None:
    middle = between(challenged)
    saved = save(proposal_at(challenged, disc, middle), who="Ada")
    assert saved.calibration is not None and all(outcome.passed for outcome in judge_challenge(saved))
    wrong = proposal_at(challenged, disc, 10 * middle)
    with pytest.raises(ChallengeError, match=r"1 challenge part of .* master defect.png must be NG and is OK"):
        save(wrong, who="Ada")
    assert read_info(challenged.folder).calibration == saved.calibration
    loose = save(wrong, who="Ada", override="the line stands still")
    with pytest.raises(ChallengeError):
        use_version(challenged.folder, loose.calibration.version)
    use_version(challenged.folder, saved.calibration.version)
    [entry] = history_page(HistoryFilter(what=("challenge overridden",))).entries
    told = details_of(entry)
    assert told["reason"] == "the line stands still" and "master defect.png must be NG and is OK" in told["failed"]


def test_parts_are_kept_by_content_renamed_and_removed(challenged: ModelInfo, disc: DatasetClass) -> None:
    first, _ = challenge_parts(challenged)
    kept = workspace() / "challenges"
    [file] = kept.glob(f"*/{first.digest}")
    content = file.read_bytes()
    again = add_challenge_parts(challenged, [("master defect.png", content)], "NG")
    assert [(part.name, part.expected) for part in again] == [
        ("master defect.png", "NG"),
        ("master defect.png-2", "NG"),
    ]
    with pytest.raises(ConfigError, match=r"no challenge part odd; there are: master defect\.png"):
        remove_challenge_parts(challenged, ["odd"])
    assert remove_challenge_parts(challenged, ["master defect.png"]) == again[1:]
    assert not file.exists() and challenge_parts(challenged) == again[1:]


def test_what_cannot_be_read_is_not_added_and_a_changed_file_fails(challenged: ModelInfo) -> None:
    before = challenge_parts(challenged)
    [kept] = (workspace() / "challenges").glob(f"*/{before[0].digest}")
    with pytest.raises(ImageError, match=r"torn.png"):
        add_challenge_parts(challenged, [("sound.png", kept.read_bytes()), ("torn.png", b"nothing")], "OK")
    assert challenge_parts(challenged) == before
    [other] = (workspace() / "challenges").glob(f"*/{before[1].digest}")
    kept.write_bytes(other.read_bytes())
    assert judge_challenge(challenged)[0].error == "its kept file was changed"
    (kept.parent / "challenge.json").write_text('{"format": 1, "parts": 3}')
    with pytest.raises(DocumentError, match="add the challenge parts of the class anew"):
        challenge_parts(challenged)
