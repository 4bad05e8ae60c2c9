import shutil
from pathlib import Path

import pytest

from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.study.store import load_study, study_ids
from tests.limits import LONG
from tests.shown_page import fine, words


@pytest.fixture
def parts(app_world: Path, tiny_data: Path) -> Path:
    """A folder under the data root: two good parts and a defective one, the same photograph of each twice."""
    test = tiny_data / "machined_disc" / "test"
    good = sorted((test / "good").glob("*.png"))[:2]
    [defect, *_] = sorted(path for path in test.glob("*/*.png") if path.parent.name != "good")
    for number, file in enumerate((*good, defect)):
        folder = app_world / "data" / "msa" / ("defect" if file == defect else "good") / f"part {number}"
        folder.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            shutil.copy(file, folder / name)
    return app_world / "data" / "msa"


def waited() -> None:
    [job] = queue().list()
    assert not queue().wait(job.id, LONG).active


def test_a_folder_is_measured_in_the_background_and_the_answer_shown(visit, own_model: Path, parts: Path) -> None:
    at = fine(visit("study"))
    assert "No study has been made" in at.info[0].value
    at.text_input("study-folder").input(str(parts)).run()
    fine(at.button("study-measure").click().run())
    waited()
    at = fine(visit("study"))
    figures = {metric.label: metric.value for metric in at.metric}
    # the same photograph twice: nothing but the parts varies
    assert (figures["%GRR"], figures["Same verdict"]) == ("0 %", "3 of 3")
    assert "The score is fit" in at.success[0].value
    [name] = study_ids()
    assert at.query_params["study"] == name
    assert {each.photograph.truth for each in load_study(name).measurements} == {"good", "defect"}
    at.button(f"study-remove-{name}").click().run()
    assert study_ids() == [] and "No study has been made" in fine(at).info[0].value


def test_a_study_that_fails_or_is_damaged_says_why(visit, own_model: Path, app_world: Path) -> None:
    (app_world / "data" / "msa").mkdir()
    (app_world / "data" / "msa" / "study.csv").write_text("file,part\n../../home/x.png,1\n")
    at = visit("study")
    at.text_input("study-folder").input(str(app_world / "data" / "msa")).run()
    fine(at.button("study-measure").click().run())
    waited()
    at = visit("study")
    assert "outside the folders this app may read" in words(at)
    damaged = app_world / "home" / "studies" / "20260101-000000-0123abcd.json"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text('{"format": 1, "source": 3}')
    at = visit("study")
    assert "is damaged" in words(at) and "Remove it, and make the study again" in words(at)
    at.button("study-remove-20260101-000000-0123abcd").click().run()
    assert not damaged.exists()
