"""The loop behind the Label page, in a page of its own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from skrd4ad.model_folder.folder import read_history, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import read_metadata
from skrd4ad.services.improve.pixel_metrics import PixelWorker
from skrd4ad.services.improve.retrain import plan_retraining, retrain_request, start_for, successors_of
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.training import train_class
from skrd4ad.ui.label.improve import figures as label_loop_figures
from skrd4ad.ui.label.improve import state
from tests.limits import LONG
from tests.loop_world import decide, known_of, label_sample, part, put, score_all
from tests.shown_page import fine, words

Open = Callable[[], AppTest]


def _page() -> None:
    import os
    from pathlib import Path

    import streamlit as st

    from skrd4ad.model_folder.folder import read_info
    from skrd4ad.ui.label.improve.page import show_loop

    chosen = st.session_state.get("_model") or os.environ["LOOP_MODEL"]
    show_loop(read_info(Path(chosen)))


@pytest.fixture
def info(own_model: Path, tiny_data: Path, more_parts: Path, monkeypatch: pytest.MonkeyPatch) -> ModelInfo:
    monkeypatch.setenv("LOOP_MODEL", str(own_model))
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", f"{tiny_data}:{more_parts}")
    return read_info(own_model)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[PixelWorker]:
    """The thread of one test."""
    made = PixelWorker()
    for module in (state, label_loop_figures):
        monkeypatch.setattr(module, "pixel_worker", lambda: made)
    yield made
    assert made.wait(LONG)


@pytest.fixture
def open_loop(info: ModelInfo, worker: PixelWorker) -> Open:
    def run() -> AppTest:
        return fine(AppTest.from_function(_page, default_timeout=LONG).run())

    return run


@pytest.fixture
def labelled(info: ModelInfo, more_parts: Path) -> None:
    for sample in (others := part(more_parts)).train + others.test:
        label_sample(info, sample, who="Ada")
    score_all(info)


def figures(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def button(at: AppTest, key: str) -> Any:
    return next(each for each in at.button if each.key == key)


def table(at: AppTest, column: str) -> Any:
    """The first table with a column of that name."""
    return next(frame.value for frame in at.dataframe if column in frame.value.columns)


def with_new_model(info: ModelInfo, tiny_data: Path) -> ModelInfo:
    """A model that went on from another one, and has looked at all labelled images."""
    data = part(tiny_data)
    known = known_of(info, data)
    plan = plan_retraining(info, known.book, known.seen)
    request = retrain_request(plan, config=replace(plan.config, epochs=1))
    new = train_class(data, request, start=start_for(data, request), out=info.folder.parents[2])
    score_all(new)
    return new


def test_without_labels_the_first_step_is_named(open_loop: Open) -> None:
    at = open_loop()
    assert "Label at least one good and one defective image" in at.info[0].value
    assert not at.button and not at.metric


def test_the_figures_follow_the_labels(open_loop: Open, info: ModelInfo, more_parts: Path, worker: PixelWorker) -> None:
    others = part(more_parts)
    first = label_sample(info, others.train[0])
    score_all(info)
    at = open_loop()
    assert "Label at least one defective image that the model has not learnt from" in words(at)
    assert "Draw the mask of a defect" in words(at)
    label_sample(info, next(s for s in others.test if s.label))
    score_all(info)
    fine(at.run())
    assert "Image AUROC" in figures(at) and "1 good and 1 defective images; too few" in words(at)
    assert worker.wait(LONG)
    fine(at.run())
    assert figures(at)["Pixel AUROC"] != "–" and "1 defect with a mask and 1 good image" in words(at)
    decide(info, first, "unsure")
    fine(at.run())
    assert "People are unsure of 1" in words(at) and "Image AUROC" not in figures(at)


def test_agreement_is_counted_and_what_differs_can_be_opened(open_loop: Open, info: ModelInfo, labelled: None) -> None:
    at = open_loop()
    known = known_of(info, None).labels
    assert info.calibration is not None
    limit = info.calibration.image_threshold
    good_ng = sum((each.score or 0) > limit for each in known.of("good"))
    counts = table(at, "Together").set_index("Labelled")
    assert counts.loc["good", "NG"] == good_ng and counts.loc["good", "Together"] == 30
    assert "not a random sample of the parts" in words(at)
    assert "38 of 38 images are labelled" in words(at)
    if good_ng:
        assert list(table(at, "By")["By"]) and button(at, "loop-open").disabled


def test_images_without_a_score_are_scored_on_demand(open_loop: Open, info: ModelInfo, more_parts: Path) -> None:
    for sample in part(more_parts).test:
        label_sample(info, sample)
    at = open_loop()
    assert "14 labelled images have no score" in words(at)
    button(at, "loop-score").click().run()
    fine(at)
    assert "have no score" not in words(at) and "Image AUROC" in figures(at)


def test_many_images_without_a_score_go_to_the_background(
    open_loop: Open, info: ModelInfo, more_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_loop_figures, "FEW", 3)
    for sample in part(more_parts).test:
        label_sample(info, sample)
    at = open_loop()
    button(at, "loop-score").click().run()
    fine(at)
    [job] = queue().list()
    assert (job.kind, queue().wait(job.id, LONG).state) == ("score", "done")
    assert "have no score" not in words(fine(at.run())) and "Image AUROC" in figures(at)


def test_images_learnt_from_are_left_out_in_words(open_loop: Open, info: ModelInfo, tiny_data: Path) -> None:
    for sample in part(tiny_data).train:
        decide(info, put(info, sample.path, split="train"), "good")
    score_all(info)
    at = open_loop()
    assert "9 labelled images are left out, as the model has learnt from them" in words(at)


def test_new_limits_are_signed_before_they_hold(open_loop: Open, info: ModelInfo, labelled: None) -> None:
    at = open_loop()
    assert "30 images labelled good cannot certify less than 3.23 %" in words(at)
    assert button(at, "loop-save-limits").disabled
    new = table(at, "Now").set_index("")
    assert info.calibration is not None and new.loc["NG above", "New"] != new.loc["NG above", "Now"]
    at.number_input("loop-rate").set_value(10.0)
    at.text_input("loop-who").input("A. Mason").run()
    fine(at)
    button(at, "loop-save-limits").click().run()
    fine(at)
    history = read_history(info.folder)
    assert history is not None and history.current_version == 2
    assert (history.current.who, history.current.target_false_reject_rate) == ("A. Mason", 0.1)
    assert history.current.data == "30 images labelled good by Ada"
    assert "Version 2 is saved" in at.success[0].value
    # the agreement is that of the new limits
    assert table(at, "Together").set_index("Labelled").loc["good", "NG"] == 2  # of 30: floor(31 / 10) - 1


@pytest.mark.slow
def test_a_retraining_says_what_it_learns_from_and_runs(open_loop: Open, info: ModelInfo, labelled: None) -> None:
    at = open_loop()
    known = known_of(info, part(Path(str(info.data["source"]))))
    plan = plan_retraining(info, known.book, known.seen)
    assert f"**9** training images of the model, and **{plan.learn}** labelled good" in words(at)
    assert f"**{plan.compare}** labelled good are kept from both" in words(at)
    button(at, "loop-retrain").click().run()
    fine(at)
    [job] = queue().list()
    assert (job.kind, job.request["start_from"]) == ("train", str(info.folder))
    assert queue().wait(job.id, LONG).state == "done"
    fine(at.run())
    assert len(successors_of(info)) == 1 and "Agreement" in list(table(at, "Old")[""])


def test_too_few_labels_are_told_in_place_of_a_button(open_loop: Open, info: ModelInfo, more_parts: Path) -> None:
    label_sample(info, next(s for s in part(more_parts).test if s.label))
    score_all(info)
    at = open_loop()
    assert "Label more good images" in words(at)
    assert not [each for each in at.button if each.key == "loop-retrain"]


@pytest.mark.slow
def test_nothing_is_replaced_before_the_user_says_so(
    open_loop: Open, info: ModelInfo, labelled: None, tiny_data: Path, worker: PixelWorker
) -> None:
    new = with_new_model(info, tiny_data)
    put(info, part(tiny_data).train[0].path, split="train")  # nobody has decided on it
    at = open_loop()
    assert worker.wait(LONG)
    fine(at.run())
    assert table(at, "Old").set_index("").loc["Agreement", "New"] != "–"
    both = table(at, "Figure").set_index("Figure")
    assert both.loc["Image AUROC", "Old"] != "–" and both.loc["AUPRO (FPR to 0.30)", "New"] == "–"
    button(at, "loop-compare-start").click().run()
    [compared] = queue().list()
    assert (compared.kind, queue().wait(compared.id, LONG).state) == ("compare-labels", "done")
    both = table(fine(at.run()), "Figure").set_index("Figure")
    assert both.loc["AUPRO (FPR to 0.30)", "New"] != "–" and both.loc["AUPRO (FPR to 0.30)", "Clear"] in ("yes", "no")
    assert not [each for each in at.button if each.key == "loop-compare-start"]
    at.session_state["loop-changes"] = True
    seen = table(fine(at.run()), "Truth")
    assert {"Old", "New", "New verdict", "Old score"} <= set(seen.columns)
    assert any(box.label == "Image under both" for box in at.selectbox)
    assert "_model" not in at.session_state and button(at, "loop-use").disabled
    at.text_input("loop-decides").input("Ada").run()
    button(at, "loop-use").click().run()
    fine(at)
    assert at.session_state["_model"] == str(new.folder)
    assert read_metadata(new.folder).note.startswith("Used from now on: compared with tiny on")
    [job, _] = queue().list()
    assert (job.kind, job.request["model"]) == ("score", str(new.folder))
    assert queue().wait(job.id, LONG).state == "done"
    # with the new model in use the way back is offered
    assert f"The model in use went on from {info.folder.name}" in words(at)
    button(at, "loop-back").click().run()
    fine(at)
    assert at.session_state["_model"] == str(info.folder)


@pytest.mark.parametrize("way", ["keep", "delete"])
@pytest.mark.slow
def test_the_old_model_may_be_kept(open_loop: Open, info: ModelInfo, labelled: None, tiny_data: Path, way: str) -> None:
    new = with_new_model(info, tiny_data)
    at = open_loop()
    at.text_input("loop-decides").input("Ada").run()
    if way == "keep":
        button(at, "loop-keep").click().run()
        assert "Not used; tiny was kept" in read_metadata(new.folder).note and "Not used; tiny was kept" in words(
            fine(at)
        )
    else:
        assert button(at, "loop-delete").disabled
        at.checkbox(f"loop-sure-{new.digest}").check().run()
        button(at, "loop-delete").click().run()
        fine(at)
        assert not new.folder.exists() and "There is no model yet that went on" in words(at)
    assert info.folder.is_dir() and "_model" not in at.session_state


def test_what_goes_wrong_is_told_in_words_and_the_rest_stays(
    open_loop: Open, info: ModelInfo, labelled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_loop()
    with monkeypatch.context() as patch:
        patch.setenv("SKRD4AD_DATABASE_URL", f"sqlite:///{tmp_path}/no/such/folder/x.db")
        at.run()
    assert not at.exception
    assert len(at.error) == 4 and all("cannot be opened" in each.value for each in at.error)
    assert "Image AUROC" in figures(fine(at.run()))
