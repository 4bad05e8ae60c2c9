import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from skrd4ad.digests import file_digest
from skrd4ad.format import METRIC_TITLES, OUTCOME_TITLES
from skrd4ad.metrics.bootstrap import METRIC_NAMES, SEED
from skrd4ad.model_folder.folder import read_info
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.evaluation.charts import BAR_METRICS
from skrd4ad.services.evaluation.compare import find_comparison
from skrd4ad.services.evaluation.curve_chart import CURVE_TITLES
from skrd4ad.services.evaluation.evaluate import evaluate_class, find_evaluation
from skrd4ad.services.evaluation.operating_points import Findings, findings
from skrd4ad.services.evaluation.published import PROTOCOL_DIFFERENCE
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.services.evaluation.store import list_evaluations
from skrd4ad.services.jobs.queue import JobHandle, queue
from skrd4ad.ui.evaluate import images as evaluate_images
from skrd4ad.ui.evaluate.escapes import groups_of
from skrd4ad.ui.evaluate.text import HEADLINES, HOW_TO_READ, figure_text
from tests.evaluation_world import worse_copy
from tests.limits import LONG
from tests.shown_page import as_shown, component, fine, words


@pytest.fixture
def evaluated(own_model: Path) -> StoredEvaluation:
    return evaluation_of(own_model)


@pytest.fixture
def rewritable(own_model: Path, own_data: Path) -> Path:
    """The tiny model, which belongs to a copy of its data that may be changed."""
    return change_config(own_model, source=str(own_data))


def change_config(folder: Path, *, source: str | None = None, **values: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config |= values
    if source is not None:
        config["data"]["source"] = source
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def evaluation_of(folder: Path) -> StoredEvaluation:
    info = read_info(folder)
    return evaluate_class(folder, class_of_model(info), source=str(info.data["source"]))


def found_in(stored: StoredEvaluation) -> Findings:
    calibration = read_info(stored.summary.model_folder).calibration
    assert calibration is not None
    return findings(stored, calibration)


def view(at: AppTest, name: str) -> AppTest:
    at.button_group("view").set_value(name).run()
    return at


def finish(at: AppTest) -> AppTest:
    """Wait for the jobs and look at the page again."""
    for job in queue().active():
        assert not queue().wait(job.id, timeout=LONG).active
    return at.run()


def standings(at: AppTest) -> dict[str, str]:
    table = at.dataframe[0].value
    return dict(zip(table["Model"], table["State"], strict=True))


def charts(at: AppTest) -> dict[str, Any]:
    """Charts of the page by their keys, with plotly's packed arrays unpacked."""
    return {
        chart.proto.id.split("-evaluate-", 1)[1]: unpacked(json.loads(chart.proto.spec))
        for chart in at.get("plotly_chart")
    }


def unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if {"dtype", "bdata"} <= set(value):
            return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).tolist()
        return {name: unpacked(each) for name, each in value.items()}
    return [unpacked(each) for each in value] if isinstance(value, list) else value


def has_button(at: AppTest, label: str) -> bool:
    return any(button.label == label for button in at.button)


# ---- what can be evaluated ----


def test_without_a_model_the_page_leads_to_training(visit) -> None:
    at = fine(visit("evaluate"))
    assert "no model to evaluate" in at.info[0].value
    at.button[0].click().run()
    assert [title.value for title in at.title] == ["Train"]


def test_the_first_visit_says_what_is_missing_and_the_button_fixes_it(visit, own_model: Path) -> None:
    at = fine(visit("evaluate"))
    assert "Nothing has been evaluated in this workspace yet" in at.info[0].value
    assert standings(at) == {"machined_disc": "never evaluated"}
    assert not at.get("plotly_chart")
    at.button("evaluate-start").click().run()
    assert standings(at)["machined_disc"] in {"waiting", "running", "up to date"}
    at = fine(finish(at))
    assert standings(at) == {"machined_disc": "up to date"}
    assert not at.info
    summary = list_evaluations()[0]
    ranked = at.metric[len(OUTCOME_TITLES) :]
    assert [metric.value for metric in ranked] == [figure_text(getattr(summary.metrics, n)) for n in HEADLINES]
    interval = summary.intervals.intervals["aupro"]
    assert interval is not None
    assert ranked[2].delta == f"{interval.low:.3f} to {interval.high:.3f}"


def test_all_that_are_missing_are_evaluated_and_nothing_else(visit, evaluated: StoredEvaluation) -> None:
    worse_copy(evaluated.summary.model_folder, evaluated.summary.model_folder.parent / "other")
    at = fine(visit("evaluate"))
    assert sorted(standings(at).values()) == ["never evaluated", "up to date"]
    assert at.button("evaluate-missing").label == "Evaluate all that are missing (1)"
    at.button("evaluate-missing").click().run()
    at = fine(finish(at))
    assert set(standings(at).values()) == {"up to date"}
    assert at.button("evaluate-missing").disabled
    assert len(list_evaluations()) == 2
    assert [job.request["model"] for job in queue().list()] == [str(evaluated.summary.model_folder.parent / "other")]


def test_what_is_known_is_measured_again_only_on_request(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    assert at.button("evaluate-start").label == "Evaluate again"
    at.button("evaluate-start").click().run()
    fine(finish(at))
    job = queue().list()[0]
    assert job.request["again"] is True
    assert job.result is not None and job.result["reused"] is False
    assert [each.key for each in list_evaluations()] == [evaluated.summary.key]


def test_changed_images_are_told_and_measured_anew(visit, rewritable: Path, own_data: Path) -> None:
    before = evaluation_of(rewritable)
    good, defect = (next((own_data / "machined_disc" / "test" / kind).iterdir()) for kind in ("good", "dent"))
    shutil.copy(good, defect)
    at = visit("evaluate")
    assert standings(fine(at)) == {"machined_disc": "changed since"}
    assert "have changed since this was measured" in at.warning[0].value
    at.button("evaluate-start").click().run()
    at = fine(finish(at))
    assert standings(at) == {"machined_disc": "up to date"}
    now = find_evaluation(read_info(rewritable), class_of_model(read_info(rewritable)))
    assert now is not None and now.is_current and now.summary.key != before.summary.key
    assert not at.warning


def test_images_that_are_gone_are_named_in_words(visit, own_model: Path) -> None:
    change_config(own_model, source="/nowhere")
    at = fine(visit("evaluate"))
    assert standings(at) == {"machined_disc": "cannot be evaluated"}
    assert "/nowhere" in at.dataframe[0].value["Remark"][0]
    assert at.button("evaluate-start").disabled and at.button("evaluate-missing").disabled


def test_a_model_that_has_learnt_from_every_test_image_is_not_measured_and_the_reason_is_said(
    visit, own_model: Path, own_data: Path
) -> None:
    data = json.loads((own_model / "config.json").read_text())["data"]
    files = sorted((own_data / "machined_disc" / "test").rglob("*.png"))
    learnt = {"started_from": {}, "learnt": [file_digest(file) for file in files], "held_out": []}
    change_config(own_model, data={**data, **learnt})
    at = fine(visit("evaluate"))
    assert standings(at) == {"machined_disc": "cannot be evaluated"}
    assert at.dataframe[0].value["Remark"][0].startswith("All 12 test images of machined_disc are ones that this model")
    assert at.button("evaluate-start").disabled and at.button("evaluate-missing").disabled


def test_an_imported_model_is_measured_on_other_images(visit, own_model: Path, own_data: Path) -> None:
    change_config(own_model, data={})
    at = fine(visit("evaluate"))
    assert "it was imported" in at.dataframe[0].value["Remark"][0]
    at.text_input("evaluate-other-folder").input(str(own_data)).run()
    button = at.button("evaluate-other")
    assert button.label == "Evaluate on these 12 images"
    button.click().run()
    at = fine(finish(at))
    assert list(standings(at).values()) == ["cannot be evaluated", "up to date"]
    assert [summary.source for summary in list_evaluations()] == [str(own_data)]
    assert len(at.metric) == len(OUTCOME_TITLES) + len(HEADLINES)


def test_a_failure_is_told_with_its_reason(visit, rewritable: Path, own_data: Path) -> None:
    broken = next((own_data / "machined_disc" / "test" / "stain").iterdir())
    broken.write_bytes(b"no image")
    at = visit("evaluate")
    at.button("evaluate-start").click().run()
    at = finish(at)
    assert not at.exception
    assert standings(at) == {"machined_disc": "failed"}
    assert broken.name in at.error[0].value and "failed" in at.error[0].value
    assert at.code, "the details are folded below"


def test_a_waiting_evaluation_can_be_cancelled(visit, own_model: Path) -> None:
    def wait(handle: JobHandle) -> dict:
        while True:
            handle.check()
            time.sleep(0.01)

    queue().submit(kind="other", title="in front", request={}, lane="short", work=wait)
    at = visit("evaluate")
    at.button("evaluate-start").click().run()
    assert standings(fine(at)) == {"machined_disc": "waiting"}
    cancel = next(button for button in at.button if button.label == "Take out of the queue")
    cancel.click().run()
    assert standings(fine(at)) == {"machined_disc": "cancelled"}
    assert "what was known before still stands" in words(at)


def test_the_overview_knows_evaluations_among_the_jobs(visit, own_model: Path) -> None:
    at = visit("evaluate")
    at.button("evaluate-start").click().run()
    fine(at.switch_page("routes/overview.py").run())
    at = fine(finish(at))
    assert "AUPRO (FPR to 0.30)" in words(at)
    next(button for button in at.button if button.label == "See it").click().run()
    assert [title.value for title in at.title] == ["Evaluate"]


# ---- what was found ----


def test_what_the_limits_do_to_the_images_comes_first(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    outcomes = found_in(evaluated).outcomes
    assert [(each.label, each.value) for each in at.metric[:4]] == [
        (OUTCOME_TITLES[each.name], f"{each.count} of {each.total}") for each in outcomes
    ]
    assert at.metric[4].label == METRIC_TITLES["image_auroc"]


def test_bars_are_the_metrics_with_their_intervals(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    for metric in BAR_METRICS:
        at.button_group("figure").set_value(metric).run()
        traces = charts(at)[f"bars-{metric}"]["data"]
        names = [metric] + (["aupro_paper"] if metric == "aupro" else [])
        for trace, name in zip(traces, names, strict=True):
            value = getattr(evaluated.summary.metrics, name)
            interval = evaluated.summary.intervals.intervals[name]
            assert trace["base"] + trace["y"][0] == pytest.approx(value)
            assert value + trace["error_y"]["array"][0] == pytest.approx(max(value, interval.high))
            assert value - trace["error_y"]["arrayminus"][0] == pytest.approx(min(value, interval.low))
            assert trace["customdata"][0][0] == evaluated.summary.key
        assert HOW_TO_READ[metric] in words(at)


def test_the_table_holds_every_metric_with_its_interval(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    row = at.dataframe[1].value.iloc[0]
    for name in METRIC_NAMES:
        value, interval = getattr(evaluated.summary.metrics, name), evaluated.summary.intervals.intervals[name]
        assert row[METRIC_TITLES[name]] == f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
    assert row["Images"] == "4 good, 8 defective"
    assert f"drawn again {evaluated.summary.intervals.replicates} times" in words(at) and f"seed {SEED}" in words(at)


def test_each_type_of_defect_has_every_figure_with_its_interval(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    table = at.dataframe[2].value.set_index("Type")
    assert sorted(table.index) == sorted(evaluated.summary.by_defect)
    for kind, metrics in evaluated.summary.by_defect.items():
        assert table.loc[kind, "Images"] == f"{metrics.n_good} good, {metrics.n_defect} defective"
        for name in METRIC_NAMES:
            value, interval = getattr(metrics, name), evaluated.summary.intervals.by_type[kind][name]
            assert table.loc[kind, METRIC_TITLES[name]] == figure_text(value, interval)
    assert any("(" in text for text in table[METRIC_TITLES["image_auroc"]])
    assert "Near 1 they are too narrow" in words(at)


def test_published_figures_stand_beside_ours_and_are_marked(visit, own_model: Path, own_data: Path) -> None:
    (own_data / "machined_disc").rename(own_data / "bottle")
    named = own_data.rename(own_data.parent / "mvtec")
    change_config(own_model, source=str(named), dataset="mvtec", class_name="bottle")
    evaluation_of(own_model)
    at = fine(visit("evaluate"))
    assert PROTOCOL_DIFFERENCE in words(at)
    assert "class bottle" in words(at)
    rows = at.dataframe[1].value.set_index("Evaluation")
    assert rows.loc["RD4AD, published", "Badges"] == "published"
    assert rows.loc["RD4AD, published", METRIC_TITLES["pixel_auroc"]] == "0.987"
    assert rows.loc["SK-RD4AD, published", METRIC_TITLES["aupro_paper"]] == "0.969"
    assert rows.loc["SK-RD4AD, published", METRIC_TITLES["aupro"]] == "–", "nobody published the exact one"
    at.button_group("figure").set_value("aupro").run()
    names = [trace["name"] for trace in charts(at)["bars-aupro"]["data"]]
    assert names[-2:] == ["RD4AD (published)", "SK-RD4AD (published)"]


def test_without_published_figures_the_page_says_so(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    assert "knows no published" in words(at)
    assert PROTOCOL_DIFFERENCE not in words(at)


def test_figures_of_an_epoch_chosen_on_the_tests_are_badged(visit, own_model: Path) -> None:
    change_config(own_model, test_selected=True)
    evaluation_of(own_model)
    at = fine(visit("evaluate"))
    assert "test-selected" in at.dataframe[1].value["Badges"][0]
    assert "test-selected" in words(at)


def test_curves_are_those_of_the_metrics_with_the_limits_on_them(visit, evaluated: StoredEvaluation) -> None:
    at = view(fine(visit("evaluate")), "curves")
    found = found_in(evaluated)
    seen = set()
    for kind in ("roc", "pr", "pro"):
        at.button_group("curve").set_value(kind).run()
        for key, chart in charts(fine(at)).items():
            name = key.removeprefix("curve-")
            seen.add(name)
            curve = evaluated.curves[name]
            line = next(trace for trace in chart["data"] if trace.get("customdata"))
            assert (line["x"], line["y"]) == (curve.x.tolist(), curve.y.tolist())
            point = found.image_point if name.startswith("image") else found.pixel_point
            assert point is not None and point.on(name) is not None
            marks = [(trace["x"][0], trace["y"][0]) for trace in chart["data"] if trace["mode"] == "markers"]
            assert marks == [point.on(name)]
    assert seen == set(CURVE_TITLES)
    table = at.dataframe[1].value
    assert list(table["Counts"]) == ["Images above the reject limit", "Pixels above the pixel limit"]
    assert found.image_point.recall is not None
    assert table["Recall"][0] == f"{100 * found.image_point.recall:.3g} %"


def test_every_bar_and_every_cell_opens_exactly_its_images(visit, evaluated: StoredEvaluation) -> None:
    at = view(fine(visit("evaluate")), "escapes")
    found = found_in(evaluated)
    groups = {(group.chart, group.name, group.indices): group for group in groups_of(found)}
    drawn = charts(at)
    names = {"confusion": "cell", "escapes-type": "type", "escapes-size": "size"}
    marks = [
        (chart, data[0], tuple(data[1:]))
        for key, chart in names.items()
        for trace in drawn[key]["data"]
        for data in trace["customdata"]
        if len(data) > 1
    ]
    assert marks and set(marks) <= set(groups)
    by_type = sorted(place for group in groups.values() if group.chart == "type" for place in group.indices)
    assert by_type == np.flatnonzero(evaluated.labels == 1).tolist(), "the rejected ones can be chosen too"
    assert {places for chart, _, places in marks if chart == "cell"} == {c.indices for c in found.confusion if c.count}
    box = next(box for box in at.selectbox if box.label == "Images shown")
    for mark in marks:
        box.set_value(groups[mark].id).run()
        assert f"{len(mark[2])} image" in words(fine(at))
        box = next(box for box in at.selectbox if box.label == "Images shown")
        assert box.value == groups[mark].id


def test_escapes_come_first_and_are_named(visit, evaluated: StoredEvaluation) -> None:
    at = view(fine(visit("evaluate")), "escapes")
    escapes = next(cell for cell in found_in(evaluated).confusion if (cell.truth, cell.verdict) == ("defect", "OK"))
    assert escapes.count > 0
    assert f"**Escapes: defects that pass** — {escapes.count} images" in words(at)
    viewer = component(at, "map_viewer")
    assert (viewer["title"], viewer["truth"]) == (evaluated.images[escapes.indices[0]].name, "scratch")


def test_many_images_are_shown_bit_by_bit(visit, evaluated: StoredEvaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_images, "PAGE_SIZE", 3)
    escapes = next(cell for cell in found_in(evaluated).confusion if (cell.truth, cell.verdict) == ("defect", "OK"))
    at = view(fine(visit("evaluate")), "escapes")
    left = escapes.count - 3
    assert left > 0
    while left > 0:
        label = f"Show {min(3, left)} more of {escapes.count}"
        assert at.button("evaluate-more-escapes").label == label
        at.button("evaluate-more-escapes").click().run()
        left -= 3
    assert not any(button.key == "evaluate-more-escapes" for button in fine(at).button)


def test_without_limits_escapes_lead_to_the_calibration(visit, own_model: Path) -> None:
    evaluation_of(own_model)
    (own_model / "calibration.json").unlink()
    at = view(fine(visit("evaluate")), "escapes")
    assert "no limits yet" in words(at)
    at.button("evaluate-escapes-calibrate").click().run()
    assert [title.value for title in at.title] == ["Calibrate"]


def test_curves_are_shown_without_limits(visit, own_model: Path) -> None:
    evaluation_of(own_model)
    (own_model / "calibration.json").unlink()
    at = view(fine(visit("evaluate")), "curves")
    assert [trace["mode"] for trace in charts(at)["curve-image_roc"]["data"]] == ["lines", "lines"]
    assert has_button(at, "Calibrate")


def test_an_image_that_is_gone_meanwhile_does_not_hide_the_others(visit, rewritable: Path) -> None:
    stored = evaluation_of(rewritable)
    escapes = next(cell for cell in found_in(stored).confusion if (cell.truth, cell.verdict) == ("defect", "OK"))
    at = view(fine(visit("evaluate")), "escapes")
    stored.images[escapes.indices[0]].path.unlink()
    at.run()
    assert not at.exception
    assert any(str(stored.images[escapes.indices[0]].path) in error.value for error in at.error)
    assert charts(at)["confusion"]


def test_an_evaluation_is_removed_once_asked(visit, evaluated: StoredEvaluation) -> None:
    at = fine(visit("evaluate"))
    at.button(f"evaluate-remove-{evaluated.summary.key}").click().run()
    assert list_evaluations() == []
    assert "Nothing has been evaluated in this workspace yet" in words(fine(at))


def test_an_evaluation_of_a_model_that_is_gone_can_still_be_seen(visit, evaluated: StoredEvaluation) -> None:
    folder = evaluated.summary.model_folder
    worse_copy(folder, folder.parent / "other")
    shutil.rmtree(folder)
    at = fine(visit("evaluate"))
    assert standings(at) == {"machined_disc": "never evaluated"}
    assert next(box for box in at.selectbox if box.label == "Evaluation").options == ["machined_disc · tiny"]
    assert charts(at)["bars-image_auroc"]["data"][0]["customdata"][0][0] == evaluated.summary.key
    assert "There are no limits to show" in words(fine(view(at, "escapes")))


# ---- two runs ----


def test_one_evaluation_cannot_be_compared(visit, evaluated: StoredEvaluation) -> None:
    at = view(fine(visit("evaluate")), "compare")
    assert "only one evaluation" in words(at)


def test_two_runs_are_compared_on_the_same_images(visit, evaluated: StoredEvaluation) -> None:
    folder = evaluated.summary.model_folder
    worse_copy(folder, folder.parent / "other")
    second = evaluation_of(folder.parent / "other")
    at = fine(view(visit("evaluate"), "compare"))
    at.button("evaluate-compare").click().run()
    at = fine(finish(at))
    assert not has_button(at, "Compare"), "it is known now"
    shown = at.selectbox("evaluation").value
    a, b = (second, evaluated) if shown == evaluated.summary.key else (evaluated, second)
    found = find_comparison(a, b)
    assert found is not None
    trace = charts(at)["differences"]["data"][0]
    values = {name: each.difference for name, each in found.differences.items()}
    assert trace["x"] == list(values.values())
    table = next(d.value for d in at.dataframe if "95 % interval" in d.value.columns)
    assert list(table["Difference"]) == [f"{value:+.3f}" for value in values.values()]
    assert list(table["Clear"]) == ["yes" if each.is_clear else "no" for each in found.differences.values()]
    settings = next(d.value for d in at.dataframe if "Setting" in d.value.columns)
    assert [tuple(row) for row in settings.itertuples(index=False)] == [(s.name, s.a, s.b) for s in found.settings]
    assert "Seed" in list(settings["Setting"])
    lines = [t for t in charts(at)["pair-curve-image_roc"]["data"] if t.get("customdata")]
    assert len(lines) == 2
    for note in found.notes:
        assert note in words(at)
    images = next(box for box in at.selectbox if box.label == "Image under both")
    images.select_index(len(found.images) - 1).run()
    change = found.images[-1]
    assert f"score {change.score_a:.3g}" in words(fine(at)) and f"score {change.score_b:.3g}" in words(at)


def test_runs_without_common_images_are_refused_in_words(visit, evaluated: StoredEvaluation, own_data: Path) -> None:
    folder = evaluated.summary.model_folder
    worse_copy(folder, folder.parent / "other")
    for path in (own_data / "machined_disc" / "test").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    change_config(folder.parent / "other", source=str(own_data))
    evaluation_of(folder.parent / "other")
    at = fine(view(visit("evaluate"), "compare"))
    assert "no image in common" in words(at)


def test_the_export_says_how_much_it_writes(visit, evaluated: StoredEvaluation) -> None:
    at = fine(view(visit("evaluate"), "export"))
    labels = [as_shown(button.label) for button in at.get("download_button")]
    assert f"Figures as CSV ({len(METRIC_NAMES)} rows)" in labels
    assert "Images of machined_disc · tiny as CSV (12 rows)" in labels
    at.multiselect(f"evaluate-export-{1}").set_value([]).run()
    assert "Choose at least one evaluation" in words(fine(at))
