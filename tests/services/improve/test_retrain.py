import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.documents import to_plain
from skrd4ad.errors import CheckpointError, ConfigError, DataError, DocumentError, TrainingCancelled
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import seen_images_of, split_holdout
from skrd4ad.paths import workspace
from skrd4ad.services.history import HistoryFilter, details_of, history_page
from skrd4ad.services.improve import retrain, retrain_data
from skrd4ad.services.improve.agreement import read_book
from skrd4ad.services.improve.retrain import (
    TRAINING,
    RetrainPlan,
    active_retrainings,
    plan_retraining,
    predecessor_of,
    retrain_config,
    retrain_request,
    start_for,
    submit_retraining,
    successors_of,
)
from skrd4ad.services.improve.retrain_data import (
    ConfirmedNormal,
    ConfirmedNormals,
    empty_class,
    keep_confirmed,
    own_class,
    read_confirmed,
    role_of,
    start_of,
)
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.training import TrainingRequest, train_class
from skrd4ad.types import DatasetClass
from tests.limits import LONG
from tests.loop_world import decide, known_of, label_sample, part, put

QUICK = TrainConfig(epochs=1, batch_size=4, holdout=0.25, learning_rate=0.002)


@pytest.fixture(autouse=True)
def world(tmp_path: Path, tiny_data: Path, more_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", os.pathsep.join(map(str, (tmp_path, tiny_data, more_parts))))


@pytest.fixture
def old(info: ModelInfo) -> ModelInfo:
    return info


@pytest.fixture(scope="module")
def others(more_parts: Path) -> DatasetClass:
    return part(more_parts)


@pytest.fixture
def labelled(old: ModelInfo, others: DatasetClass, disc: DatasetClass) -> list[str]:
    """24 good images and 8 defects of another line, and two good test images of the data set; digests of the good."""
    good = [label_sample(old, sample, who=("Ada", "Ben")[n % 2]) for n, sample in enumerate(others.train)]
    for sample in others.test:
        if sample.label:
            label_sample(old, sample)
    tests = [sample for sample in disc.test if sample.label == 0][:2]
    return good + [label_sample(old, sample, split="test") for sample in tests]


def plan_of(info: ModelInfo, data: DatasetClass | None) -> RetrainPlan:
    known = known_of(info, data)
    return plan_retraining(info, known.book, known.seen)


def roles(plan: RetrainPlan) -> dict[str, str]:
    return {image.digest: image.role for image in plan.confirmed.images}


def retrained(old: ModelInfo, disc: DatasetClass, **changes: object) -> ModelInfo:
    request = replace(retrain_request(plan_of(old, disc), config=QUICK), **changes)  # type: ignore[arg-type]
    return train_class(disc, request, start=start_for(disc, request), out=old.folder.parents[2])


# ---- what each image is for ----


def test_an_image_keeps_its_role_and_the_shares_are_kept() -> None:
    nothing = seen_by_nothing()
    digests = [content_digest(str(n).encode()) for n in range(3000)]
    found = [role_of(digest, nothing) for digest in digests]
    assert found == [role_of(digest, nothing) for digest in digests]
    shares = {role: found.count(role) / len(found) for role in ("learn", "limits", "compare")}
    assert shares == pytest.approx({"learn": 0.6, "limits": 0.2, "compare": 0.2}, abs=0.03)
    kept = digests[found.index("compare")]
    assert role_of(kept, replace(nothing, learnt=frozenset({kept}))) == "learn"
    assert role_of(kept, replace(nothing, held_out=frozenset({kept}))) == "limits"


def seen_by_nothing() -> retrain.SeenImages:
    return retrain.SeenImages(
        learnt=frozenset(), held_out=frozenset(), train=frozenset(), tests=frozenset(), is_exact=True
    )


def test_the_plan_counts_what_would_be_done(old: ModelInfo, disc: DatasetClass, labelled: list[str]) -> None:
    plan = plan_of(old, disc)
    counts = {role: list(roles(plan).values()).count(role) for role in ("learn", "limits", "compare")}
    assert set(roles(plan)) == set(labelled)
    assert (plan.learn, plan.limits, plan.compare) == (counts["learn"], counts["limits"], counts["compare"])
    assert all(counts.values()) and sum(counts.values()) == 26
    assert (plan.own, plan.own_held_out, plan.own_defects, plan.missing, plan.problem) == (12, 3, 0, 0, None)
    tests = {file_digest(sample.path) for sample in disc.test}
    assert plan.tests == sum(digest in tests and role != "compare" for digest, role in roles(plan).items())
    assert plan.confirmed.people == ("Ada", "Ben")
    assert len(plan.confirmed.defects) == 8


def test_own_training_images_labelled_defective_are_left_out(
    old: ModelInfo, disc: DatasetClass, labelled: list[str]
) -> None:
    spoilt = put(old, disc.train[0].path, split="train")
    decide(old, spoilt, "defect")
    decide(old, put(old, disc.train[1].path, split="train"), "good")  # it is learnt from or held out anyway
    plan = plan_of(old, disc)
    assert (plan.own, plan.own_defects) == (11, 1) and len(plan.confirmed.images) == 26
    _, start = start_of(disc, folder=old.folder, confirmed=keep_confirmed(plan.confirmed), config=QUICK)
    assert disc.train[0].path not in {sample.path for sample in start.learn + start.held_out}
    assert "1 training images that people labelled defective" in start.note


def test_files_that_are_gone_are_not_planned_with(
    old: ModelInfo, disc: DatasetClass, others: DatasetClass, labelled: list[str], tmp_path: Path
) -> None:
    copy = Path(shutil.copy(others.test[0].path, tmp_path / "copy.png"))
    decide(old, put(old, copy), "good")
    assert len(plan_of(old, disc).confirmed.images) == 27
    copy.unlink()
    assert (plan_of(old, disc).missing, len(plan_of(old, disc).confirmed.images)) == (1, 26)


def test_settings_are_those_of_the_model_with_fewer_epochs_and_a_lower_rate(old: ModelInfo) -> None:
    assert old.train is not None
    sixty = replace(old, train=replace(old.train, epochs=60, learning_rate=0.005, selection="test", seed=3))
    found = retrain_config(sixty)
    assert (found.epochs, found.learning_rate, found.selection, found.seed) == (20, pytest.approx(0.002), "holdout", 3)
    assert retrain_config(replace(old, train=replace(old.train, epochs=1))).epochs == 1
    whole = replace(old, train=replace(old.train, holdout=0.0, selection="last"))
    assert retrain_config(whole).selection == "last"
    assert retrain_config(replace(old, train=None)).epochs == 20


@pytest.mark.parametrize("case", ["nothing new", "alone", "nothing held out"])
def test_what_cannot_be_done_is_refused_in_words(
    old: ModelInfo, disc: DatasetClass, others: DatasetClass, case: str
) -> None:
    data: DatasetClass | None = disc
    words = {
        "nothing new": "Nothing new would be learnt from: of 0 images labelled good",
        "alone": "are not at hand, and 24 are labelled good",
        "nothing held out": "No good image would be held out",
    }
    if case == "alone":
        data = None
        for sample in others.train:
            label_sample(old, sample)
    if case == "nothing held out":
        held_out = set(old.data["held_out"])
        data = replace(disc, samples=tuple(s for s in disc.samples if file_digest(s.path) not in held_out))
        learn = next(s for s in others.train if role_of(file_digest(s.path), seen_by_nothing()) == "learn")
        label_sample(old, learn)
    plan = plan_of(old, data)
    assert plan.problem is not None and words[case] in plan.problem
    with pytest.raises(DataError, match=words[case]):
        submit_retraining(plan)


# ---- the training ----


def test_the_new_model_learns_from_the_labels_and_from_nothing_it_should_not(
    old: ModelInfo, disc: DatasetClass, labelled: list[str]
) -> None:
    plan = plan_of(old, disc)
    seen = seen_images_of(old, disc)
    new = retrained(old, disc)
    role = roles(plan)
    learn, held_out = split_holdout(disc.train, share=0.25, seed=old.train.seed)  # type: ignore[union-attr]
    assert set(new.data["learnt"]) == {file_digest(s.path) for s in learn} | {d for d in role if role[d] == "learn"}
    assert set(new.data["held_out"]) == {file_digest(s.path) for s in held_out} | {
        d for d in role if role[d] == "limits"
    }
    assert seen.held_out <= set(new.data["held_out"]), "what the parent had not learnt from stays so"
    assert new.data["started_from"] == {"run": "run", "digest": old.digest}
    assert new.calibration is not None
    assert f"{plan.limits} of them labelled good by Ada, Ben" in new.calibration.data
    assert not new.calibration.test_fitted
    # a second look finds the same, whether or not the data is at hand
    assert seen_images_of(new, None).learnt == seen_images_of(new, disc).learnt == set(new.data["learnt"])


def test_test_images_that_were_labelled_are_evaluated_no_more(
    old: ModelInfo, disc: DatasetClass, labelled: list[str]
) -> None:
    plan = plan_of(old, disc)
    assert plan.tests, "the roles of two images say whether this test sees anything"
    new = retrained(old, disc)
    assert new.metrics is not None
    assert new.metrics["n_good"] == sum(s.label == 0 for s in disc.test) - plan.tests
    assert f"{plan.tests} of these are test images of the data set" in new.data["note"]
    assert "not those of the whole test set" in (new.folder / "model_card.md").read_text()


@pytest.mark.slow
def test_a_retraining_of_a_retrained_model_goes_on_the_same_way(
    old: ModelInfo, disc: DatasetClass, labelled: list[str], others: DatasetClass
) -> None:
    first = retrained(old, disc)
    assert plan_of(first, disc).problem is not None, "nothing is new"
    for sample in others.test:
        if sample.label == 0:
            label_sample(first, sample)
    plan = plan_of(first, disc)
    before = roles(plan_of(old, disc))
    assert {d: r for d, r in roles(plan).items() if d in labelled} == {d: before[d] for d in labelled}
    second = retrained(first, disc)
    assert set(first.data["learnt"]) <= set(second.data["learnt"])
    assert not set(second.data["learnt"]) & set(first.data["held_out"])
    assert successors_of(old) == [first] and successors_of(first) == [second]
    assert predecessor_of(second) == first and predecessor_of(old) is None


def test_without_its_own_images_a_model_is_retrained_on_enough_labels_alone(
    old: ModelInfo, disc: DatasetClass, labelled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrain_data, "FEWEST_ALONE", 20)
    monkeypatch.setattr(retrain, "FEWEST_ALONE", 20)
    plan = plan_of(old, None)
    assert plan.problem is None and plan.own == 0
    request = retrain_request(plan, config=QUICK)
    assert request.source == ""
    new = train_class(empty_class(old), request, start=start_for(empty_class(old), request), out=old.folder.parents[2])
    assert (new.dataset, new.class_name) == (old.dataset, old.class_name)
    assert new.data["source"] == old.data["source"]
    assert "were not at hand" in new.data["note"]
    assert new.metrics is None


def test_a_changed_file_stops_the_training_before_it_begins(
    old: ModelInfo, disc: DatasetClass, others: DatasetClass, labelled: list[str], tmp_path: Path
) -> None:
    learn = next(s for s in others.test if role_of(file_digest(s.path), seen_by_nothing()) != "compare")
    copy = Path(shutil.copy(learn.path, tmp_path / "copy.png"))
    decide(old, put(old, copy), "good")
    request = retrain_request(plan_of(old, disc), config=QUICK)
    shutil.copy(others.train[0].path, copy)
    os.utime(copy, ns=(1, 1))
    with pytest.raises(DataError, match="was changed since it was labelled good"):
        train_class(disc, request, start=start_for(disc, request), out=old.folder.parents[2])
    copy.unlink()
    with pytest.raises(DataError, match="is not at"):
        train_class(disc, request, start=start_for(disc, request), out=old.folder.parents[2])


# ---- the labels of a request ----


def test_the_labels_of_a_request_are_kept_as_they_were(old: ModelInfo, disc: DatasetClass, labelled: list[str]) -> None:
    plan = plan_of(old, disc)
    request = retrain_request(plan)
    assert request.confirmed is not None and request.confirmed == keep_confirmed(plan.confirmed)
    decide(old, labelled[0], "defect")
    assert read_confirmed(request.confirmed) == plan.confirmed
    assert TRAINING.request_of(json.loads(json.dumps(to_plain(request)))) == request
    assert retrain_request(plan_of(old, disc)).confirmed != request.confirmed


def test_damaged_labels_are_told(old: ModelInfo) -> None:
    images = (ConfirmedNormal("d", "f", "n", "learn"),)
    file = keep_confirmed(ConfirmedNormals(images=images, defects=(), people=("Ada",)))
    path = workspace() / file
    path.write_text('{"images": [{"digest": "d"}], "defects": [], "people": []}')
    with pytest.raises(DocumentError, match=r"is damaged.*Start the retraining anew"):
        read_confirmed(file)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_confirmed(file)


def test_requests_of_before_are_read_as_ever(disc: DatasetClass) -> None:
    request = TrainingRequest(source="elpv", class_name="a", model=ModelConfig(), train=TrainConfig())
    values = to_plain(request)
    del values["start_from"], values["confirmed"]
    assert TRAINING.request_of(values) == request


# ---- the job ----


@pytest.mark.slow
def test_a_job_retrains_and_shows_the_new_model_every_labelled_image(
    old: ModelInfo, disc: DatasetClass, labelled: list[str]
) -> None:
    job_id = submit_retraining(plan_of(old, disc), config=QUICK)
    with pytest.raises(ConfigError, match="is being retrained already"):
        submit_retraining(plan_of(old, disc), config=QUICK)
    assert [job.id for job in active_retrainings(old)] == [job_id]
    done = queue().wait(job_id, LONG)
    assert done.state == "done", done.error
    assert "goes on from run" in done.title
    new = read_info(Path(done.result["folder"]))  # type: ignore[index]
    assert all(image.score is not None for image in read_book(new).images.values())
    (entry,) = history_page(HistoryFilter(what=("retrained",))).entries
    assert (entry.model_digest, details_of(entry)["start_from"]) == (new.digest, str(old.folder))
    assert not active_retrainings(old) and successors_of(old) == [new]


@pytest.mark.slow
def test_an_interrupted_job_goes_on_with_the_labels_it_was_asked_with(
    old: ModelInfo, disc: DatasetClass, labelled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(old, disc)
    config = replace(QUICK, epochs=2)
    request = retrain_request(plan, config=config)
    whole = train_class(disc, request, start=start_for(disc, request), out=old.folder.parents[3] / "x")

    def stop(*_: object) -> None:
        raise TrainingCancelled("enough")

    with monkeypatch.context() as patch:
        patch.setattr(JobHandle, "point", stop)
        stopped = queue().wait(submit_retraining(plan, config=config), LONG)
    assert stopped.state == "cancelled"
    decide(old, labelled[0], "defect")
    done = queue().wait(TRAINING.repeat(stopped.id), LONG)
    assert done.state == "done", done.error
    new = read_info(Path(done.result["folder"]))  # type: ignore[index]
    assert new.digest == whole.digest and [entry["epoch"] for entry in new.history] == [1, 2]


def test_a_job_is_done_even_when_the_labelled_images_could_not_be_shown(
    old: ModelInfo,
    disc: DatasetClass,
    labelled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", logger="skrd4ad")

    def fail(*_: object, **__: object) -> None:
        raise TrainingCancelled("enough")

    monkeypatch.setattr(retrain, "score_labelled", fail)
    done = queue().wait(submit_retraining(plan_of(old, disc), config=QUICK), LONG)
    assert done.state == "done" and "has not seen all labelled images" in caplog.text


def test_a_retraining_does_not_go_on_without_the_images_it_was_planned_with(
    old: ModelInfo, disc: DatasetClass, labelled: list[str], tmp_path: Path
) -> None:
    request = replace(retrain_request(plan_of(old, disc), config=QUICK), source=str(tmp_path / "gone"))
    failed = queue().wait(TRAINING.submit(request), LONG)
    assert failed.state == "failed" and "gone" in (failed.error or "")


# ---- going on without labels ----


def test_going_on_with_the_same_data_holds_the_same_images_out(old: ModelInfo, disc: DatasetClass) -> None:
    data, start = start_of(disc, folder=old.folder, confirmed=None, config=QUICK)
    learn, held_out = split_holdout(disc.train, share=0.25, seed=old.train.seed)  # type: ignore[union-attr]
    assert data is disc and (start.learn, start.held_out) == (learn, held_out)
    assert start.already == {file_digest(s.path) for s in learn}


def test_going_on_with_more_data_holds_out_nothing_that_was_learnt(
    old: ModelInfo, disc: DatasetClass, others: DatasetClass
) -> None:
    more = replace(disc, samples=disc.samples + others.train)
    _, start = start_of(more, folder=old.folder, confirmed=None, config=replace(QUICK, seed=9))
    seen = seen_images_of(old, own_class(old))
    assert seen.is_exact and len(start.held_out) == 9 and len(start.learn) == 27
    held_out = {file_digest(s.path) for s in start.held_out}
    assert not held_out & seen.learnt and seen.held_out <= held_out
    _, again = start_of(more, folder=old.folder, confirmed=None, config=replace(QUICK, seed=10))
    assert set(again.held_out) != set(start.held_out)
    _, none = start_of(more, folder=old.folder, confirmed=None, config=TrainConfig(holdout=0.0, selection="last"))
    assert none.held_out == () and len(none.learn) == 36


def test_of_a_model_of_unknown_origin_it_is_said_what_is_not_known(old: ModelInfo, others: DatasetClass) -> None:
    config = old.folder / "config.json"
    values = json.loads(config.read_text())
    for name in ("source", "learnt", "held_out"):
        del values["data"][name]
    config.write_text(json.dumps(values))
    _, start = start_of(others, folder=old.folder, confirmed=None, config=QUICK)
    assert (start.learn, start.held_out) == split_holdout(others.train, share=0.25, seed=QUICK.seed)
    assert "may have learnt from" in start.held_out_text and "not known" in start.note
