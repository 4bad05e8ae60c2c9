import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import DataError, StorageError, TrainingCancelled
from skrd4ad.metrics.bootstrap import METRIC_NAMES, paired_differences
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.services.evaluation import compare as module
from skrd4ad.services.evaluation.compare import COMPARISON, ComparisonRequest, compare, find_comparison, to_dict
from skrd4ad.services.evaluation.compare_settings import settings_that_differ
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.services.evaluation.store import delete_evaluation
from skrd4ad.services.jobs.queue import queue, reset_queue
from skrd4ad.task import Task
from tests.evaluation_world import EvaluationWorld
from tests.limits import LONG


@pytest.fixture
def pair(evaluated: EvaluationWorld) -> tuple[StoredEvaluation, StoredEvaluation]:
    return evaluated.stored(), evaluated.stored(evaluated.second)


def test_differences_are_paired_and_exact(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    a, b = pair
    found = compare(a, b)
    expected = paired_differences(
        a.evaluation_set(), b.evaluation_set(), metrics_a=a.summary.metrics, metrics_b=b.summary.metrics
    )
    assert found.differences == expected
    assert (found.n_good, found.n_defect, found.only_a, found.only_b) == (4, 8, 0, 0)
    assert any(difference.difference for difference in found.differences.values())
    assert "by chance" in found.notes[-1]


def test_a_comparison_is_made_once(
    pair: tuple[StoredEvaluation, StoredEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_comparison(*pair) is None
    first = compare(*pair)
    monkeypatch.setattr(module, "paired_differences", lambda *_args, **_settings: pytest.fail("computed again"))
    assert compare(*pair).differences == first.differences
    again = find_comparison(*pair)
    assert again is not None and again.differences == first.differences
    assert find_comparison(pair[1], pair[0]) is None


@pytest.mark.parametrize("content", ["", "[]", '{"differences": {"aupro": 1}}', '{"differences": {}}'])
def test_a_damaged_comparison_is_made_again(
    pair: tuple[StoredEvaluation, StoredEvaluation], content: str, evaluated: EvaluationWorld
) -> None:
    first = compare(*pair)
    kept = next((evaluated.root / "home" / "comparisons").iterdir())
    kept.write_text(content)
    assert find_comparison(*pair) is None
    assert compare(*pair).differences == first.differences


def test_a_model_against_itself_does_not_differ(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    found = compare(pair[0], pair[0])
    assert {difference.difference for difference in found.differences.values()} == {0.0}
    assert all(
        d.interval is not None and (d.interval.low, d.interval.high) == (0, 0) for d in found.differences.values()
    )
    assert found.flips == ()
    assert found.settings == ()
    assert "the same evaluation" in found.notes[0]


def test_images_are_matched_by_content_whatever_their_names_and_order(
    evaluated: EvaluationWorld, pair: tuple[StoredEvaluation, StoredEvaluation]
) -> None:
    test = evaluated.data_root / "machined_disc" / "test" / "good"
    (test / "000.png").rename(test / "zzz.png")
    b = evaluate_class(evaluated.second, evaluated.data, source=str(evaluated.data_root), again=True)
    assert b.images[3].name == "test/good/zzz.png"
    found = compare(pair[0], b)
    moved = next(image for image in found.images if image.place_a == 0)
    assert (moved.place_b, moved.score_a, moved.score_b) == (3, pair[0].scores[0], b.scores[3])
    assert found.differences["image_auroc"].difference == pytest.approx(
        b.summary.metrics.image_auroc - pair[0].summary.metrics.image_auroc
    )


def test_only_common_images_are_compared_and_that_is_said(
    evaluated: EvaluationWorld, pair: tuple[StoredEvaluation, StoredEvaluation]
) -> None:
    a = pair[0]
    data = evaluated.data
    data.test[0].path.unlink()
    other_mask = next(sample.mask_path for sample in data.test if sample.mask_path)
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(other_mask)
    b = evaluate_class(evaluated.second, evaluated.data, source=str(evaluated.data_root))
    found = compare(a, b)
    assert (found.n_good, found.n_defect, found.only_a, found.only_b) == (3, 7, 2, 1)
    assert "Compared on the 10 images" in found.notes[0]
    common = sorted(image.place_a for image in found.images)
    part = a.evaluation_set()
    exact = evaluate(
        replace(
            part,
            labels=part.labels[common],
            scores=part.scores[common],
            defect_types=tuple(part.defect_types[place] for place in common),
            maps=part.maps[common],
            masks=part.masks[common],
            has_mask=part.has_mask[common],
        )
    )
    for name in METRIC_NAMES:
        assert found.differences[name].a == pytest.approx(getattr(exact, name))


def test_nothing_in_common_is_refused_with_what_to_do(
    evaluated: EvaluationWorld, pair: tuple[StoredEvaluation, StoredEvaluation]
) -> None:
    for sample in evaluated.data.test:
        turned = Image.open(sample.path).transpose(Image.Transpose.ROTATE_90)
        turned.save(sample.path)
    b = evaluate_class(evaluated.second, evaluated.data, source=str(evaluated.data_root))
    with pytest.raises(DataError, match=r"no image in common.*Evaluate both models on the same images"):
        compare(pair[0], b)


def test_only_good_images_in_common_are_refused(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    a, b = pair
    other = replace(b, images=tuple(replace(i, content="x" * 64) if i.label else i for i in b.images))
    with pytest.raises(DataError, match="all good"):
        compare(a, other)


def test_flips_come_first_and_are_the_verdicts_that_differ(
    evaluated: EvaluationWorld, pair: tuple[StoredEvaluation, StoredEvaluation]
) -> None:
    a, b = pair
    for stored, share in ((a, 0.3), (b, 0.7)):
        folder = stored.summary.model_folder
        limit = float(np.quantile(stored.scores, share))
        calibration = replace(evaluated.info(folder).calibration, image_threshold=limit, pixel_threshold=limit)
        save_calibration(folder, calibration)
    found = compare(a, b)
    assert found.flips == found.images[: len(found.flips)]
    assert 0 < len(found.flips) < 12
    for image in found.images:
        assert image.verdict_a == ("NG" if a.scores[image.place_a] > np.quantile(a.scores, 0.3) else "OK")
        assert image.flipped == (image.verdict_a != image.verdict_b)
        good = a.verdict_scores[a.labels == 0]
        assert image.rank_a == np.mean(good < image.score_a)
    assert "Reject limit" in {setting.name for setting in found.settings}


def test_without_fitting_limits_there_are_no_flips(
    evaluated: EvaluationWorld, pair: tuple[StoredEvaluation, StoredEvaluation]
) -> None:
    save_calibration(evaluated.second, replace(evaluated.info(evaluated.second).calibration, min_area=5))
    found = compare(*pair)
    assert found.flips == ()
    assert {image.verdict_b for image in found.images} == {None}


def test_settings_that_differ_are_named_for_people(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    a, b = (stored.summary for stored in pair)
    found = settings_that_differ(a, b)
    assert [(setting.name, setting.a, setting.b) for setting in found] == [("Seed", "111", "7")]
    model = replace(b.settings["model"], res=1, net="res18")
    changed = replace(b, settings={**b.settings, "model": model, "train": None}, data_digest="f" * 64, min_area=9)
    names = {setting.name: (setting.a, setting.b) for setting in settings_that_differ(a, changed)}
    assert names["Skip connections"] == ("2", "0")
    assert names["Teacher"] == ("efficientnet_lite0", "res18")
    assert names["Epochs"] == ("2", "not known")
    assert names["Digest of the test images"][1] == "f" * 12
    assert names["Smallest region in pixels"] == ("1", "9")


def test_what_a_reader_must_know_is_said(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    a, b = pair
    compare(a, b)
    selected = replace(b, summary=replace(b.summary, test_selected=True, surface_digest="2|x", image_size=32))
    notes = " ".join(find_comparison(a, selected).notes)
    assert "The second model had the epoch selected on a test set" in notes
    assert "ignore different pixels" in notes
    assert "64 x 64 and 32 x 32 pixels (height x width)" in notes


def test_its_json_form_is_complete(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    found = compare(*pair)
    values = json.loads(json.dumps(to_dict(found), allow_nan=False))
    assert set(values["differences"]) == set(METRIC_NAMES)
    assert values["differences"]["aupro"]["interval"]["low"] == found.differences["aupro"].interval.low
    assert len(values["flips"]) == len(found.flips)
    assert values["a"]["metrics"]["image_auroc"] == pair[0].summary.metrics.image_auroc


def test_a_check_may_stop_it(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    def stop() -> None:
        raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        compare(*pair, task=Task(check=stop))
    assert find_comparison(*pair) is None


def test_it_runs_in_the_background(pair: tuple[StoredEvaluation, StoredEvaluation]) -> None:
    reset_queue()
    keys = [stored.summary.key for stored in pair]
    job = queue().wait(COMPARISON.submit(ComparisonRequest(a=keys[0], b=keys[1])), LONG)
    assert (job.state, job.result) == ("done", {"a": keys[0], "b": keys[1]})
    assert find_comparison(*pair) is not None
    delete_evaluation(keys[1])
    with pytest.raises(StorageError, match="not in this workspace any more"):
        COMPARISON.submit(ComparisonRequest(a=keys[0], b=keys[1]))
    reset_queue()


@pytest.mark.slow
def test_models_of_two_sizes_are_compared(
    evaluated: EvaluationWorld, pair: tuple[StoredEvaluation, StoredEvaluation]
) -> None:
    config = evaluated.second / "config.json"
    values = json.loads(config.read_text())
    values["model"]["image_size"] = 128
    config.write_text(json.dumps(values))
    b = evaluate_class(evaluated.second, open_dataset(evaluated.data_root)[0], source=str(evaluated.data_root))
    assert b.maps().shape[1:] == (128, 128)
    found = compare(pair[0], b)
    assert found.differences["aupro"].interval is not None
    assert "64 x 64 and 128 x 128 pixels" in " ".join(found.notes)
