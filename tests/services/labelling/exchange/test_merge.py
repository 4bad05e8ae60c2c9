"""What an import does to labels that are there already."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.store import Imported, run_import
from skrd4ad.services.labelling.exchange.transfer import export_folder, export_zip_bytes, kinds_line, plan_import
from skrd4ad.services.labelling.files import load_mask_file, stored_path
from skrd4ad.task import Task
from tests.label_world import (
    ALL,
    CLASS,
    DATASET,
    HEIGHT,
    WIDTH,
    item,
    items,
    other_workspace,
    picture,
    put,
    random_mask,
)

CSV = ExportOptions(format="csv")


@pytest.fixture(autouse=True)
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path))
    return home


@pytest.fixture
def colleague(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, Callable[[], None]], bytes]:
    """``colleague(export, work)``: what comes back from one who imports an export and goes on labelling."""

    def go_on(content: bytes, work: Callable[[], None]) -> bytes:
        with other_workspace(tmp_path / "colleague", monkeypatch):
            bring(content, reviewer="Colleague")
            work()
            return export_zip_bytes(plan_export(ALL, CSV))[0]

    return go_on


def bring(source: Path | bytes, *, reviewer: str = "Importer", **options: object) -> Imported:
    plan = plan_import(
        source, name="labels.zip" if isinstance(source, bytes) else None, dataset=DATASET, class_name=CLASS
    )
    return run_import(plan, reviewer=reviewer, **options)


def export() -> bytes:
    return export_zip_bytes(plan_export(ALL, CSV))[0]


def three() -> None:
    for index, name in enumerate(("a.png", "b.png", "c.png")):
        annotate.decide(put(name, picture(index)), "good", reviewer="Me", comment=f"first {name}")


def labels() -> dict[str, str]:
    return {one.name: one.label for one in items()}


def test_importing_what_is_here_adds_nothing() -> None:
    three()
    content = export()
    imported = bring(content)
    assert (imported.kinds, imported.decisions, imported.images, imported.to_class) == ({"same": 3}, 0, 0, 0)
    assert export() == content


def test_what_a_colleague_added_follows_ours_as_it_was_made(colleague) -> None:
    three()

    def work() -> None:
        annotate.draw(item("a.png"), random_mask(1), reviewer="Colleague", defect_type="dent")
        annotate.decide(item("b.png"), "unsure", reviewer="Colleague")
        annotate.decide(item("b.png"), "good", reviewer="Colleague", comment="sure now")

    back = colleague(export(), work)
    imported = bring(back)
    assert imported.kinds == {"newer": 2, "same": 1}
    assert [(one.number, one.label, one.reviewer) for one in annotate.history_of(item("b.png").digest)] == [
        (1, "good", "Me"),
        (2, "unsure", "Colleague"),
        (3, "good", "Colleague"),
    ]
    mask = load_mask_file(item("a.png").mask_file or "")
    assert np.array_equal(mask, random_mask(1))
    assert export() == back
    assert bring(back).decisions == 0


def test_what_was_decided_on_further_here_stays() -> None:
    three()
    content = export()
    annotate.decide(item("a.png"), "defect", reviewer="Me")
    imported = bring(content, conflicts="theirs")
    assert imported.kinds == {"older": 1, "same": 2}
    assert item("a.png").label == "defect"


@pytest.mark.parametrize("conflicts", ["keep", "theirs"])
def test_where_both_decided_differently_nothing_is_overwritten_unasked(colleague, conflicts: str) -> None:
    three()
    content = export()
    back = colleague(content, lambda: annotate.decide(item("a.png"), "unsure", reviewer="Colleague") and None)
    annotate.decide(item("a.png"), "defect", reviewer="Me", defect_type="dent", comment="seen twice")

    plan = plan_import(back, name="l.zip", dataset=DATASET, class_name=CLASS)
    assert plan.kinds == {"same": 2}, "unsure images are not exported unless asked for"

    def decide_otherwise() -> None:
        annotate.decide(item("a.png"), "defect", reviewer="Colleague", defect_type="crack", comment="long")

    back = colleague(content, decide_otherwise)
    imported = bring(back, conflicts=conflicts)
    assert imported.kinds == {"differs": 1, "same": 2}
    now = item("a.png")
    if conflicts == "keep":
        assert (now.defect_type, now.latest.number, imported.decisions) == ("dent", 2, 0)
    else:
        assert (now.defect_type, now.latest.number, now.latest.reviewer, imported.decisions) == (
            "crack",
            3,
            "Importer",
            1,
        )
        assert now.latest.comment.startswith("long (decided by Colleague on 2")
        assert bring(back, conflicts="theirs").decisions == 0


def test_a_decision_that_was_taken_back_here_gives_way() -> None:
    three()
    content = export()
    annotate.undo(item("a.png"), reviewer="Me")
    assert item("a.png").label == "none"
    assert bring(content).kinds == {"older": 1, "same": 2}, "they have only what was taken back"
    table = b"file,label\na.png,defect\n"
    plan = plan_import(table, name="x.csv", dataset=DATASET, class_name=CLASS)
    assert run_import(plan, reviewer="Importer").kinds == {"new": 1}
    assert item("a.png").label == "defect"


def edited(content: bytes, name: str, change: Callable[[str], str]) -> bytes:
    """A ZIP file with one of its texts changed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for entry in old.namelist():
            text = old.read(entry)
            new.writestr(entry, change(text.decode()) if entry == name else text)
    return stream.getvalue()


def test_a_row_that_was_edited_goes_beyond_its_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three()
    content = edited(export(), "labels.csv", lambda text: text.replace(",good,", ",defect,", 1))
    with other_workspace(tmp_path / "other", monkeypatch):
        assert bring(content).kinds == {"new": 3}
        assert [(one.label, one.reviewer, one.comment) for one in annotate.history_of(item("a.png").digest)] == [
            ("good", "Me", "first a.png"),
            ("defect", "Importer", "first a.png"),
        ]
    assert bring(content).kinds == {"newer": 1, "same": 2}


def test_a_mask_that_was_edited_outside_is_a_new_decision(tmp_path: Path) -> None:
    annotate.draw(put("a.png", picture(1)), random_mask(1), reviewer="Me", defect_type="dent")
    folder, _ = export_folder(plan_export(ALL, ExportOptions(format="mvtec")), tmp_path / "out")
    (mask,) = (folder / CLASS / "ground_truth" / "dent").iterdir()
    from skrd4ad.services.labelling.files import mask_png

    mask.write_bytes(mask_png(random_mask(2)))
    assert bring(folder).kinds == {"newer": 1}
    before, after = annotate.history_of(item("a.png").digest)
    assert np.array_equal(load_mask_file(before.mask_file or ""), random_mask(1))
    assert np.array_equal(load_mask_file(after.mask_file or ""), random_mask(2))
    assert after.reviewer == "Importer"


def test_an_image_that_was_moved_to_another_folder_is_decided_on_anew(tmp_path: Path) -> None:
    three()
    folder, _ = export_folder(plan_export(ALL, ExportOptions(format="mvtec")), tmp_path / "out")
    (moved,) = folder.rglob("b.png")
    (removed,) = folder.rglob("c.png")
    (folder / CLASS / "test" / "dent").mkdir(parents=True)
    moved.rename(folder / CLASS / "test" / "dent" / "b.png")
    removed.unlink()
    plan = plan_import(folder, dataset=DATASET, class_name=CLASS)
    assert plan.valid.notes == ("Left out: 1 image of labels.csv no longer in the folders.",)
    assert run_import(plan, reviewer="Importer").kinds == {"same": 1, "newer": 1}
    assert (item("b.png").label, item("b.png").defect_type, item("c.png").label) == ("defect", "dent", "good")


def test_an_annotation_that_another_tool_removed_takes_the_mask_away() -> None:
    annotate.draw(put("a.png", picture(1)), random_mask(1), reviewer="Me", defect_type="dent")
    content, _ = export_zip_bytes(plan_export(ALL, ExportOptions(format="coco")))

    def without(text: str) -> str:
        return json.dumps({**json.loads(text), "annotations": []})

    assert bring(edited(content, "annotations.json", without)).kinds == {"newer": 1}
    assert (item("a.png").label, item("a.png").defect_type, item("a.png").mask_file) == ("defect", "dent", None)


def test_masks_are_compared_by_their_pixels_and_not_by_how_they_are_packed(tmp_path: Path) -> None:
    from PIL import Image

    annotate.draw(put("a.png", picture(1)), random_mask(1), reviewer="Me")
    folder, _ = export_folder(plan_export(ALL, CSV), tmp_path / "out")
    for mask in (*(folder / "masks").iterdir(), *(folder / "history_masks").iterdir()):
        Image.fromarray(random_mask(1)).save(mask, format="PNG", compress_level=0)
    assert bring(folder).kinds == {"same": 1}


def test_nothing_is_stored_when_something_is_wrong_unless_it_is_to_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(3):
        (tmp_path / "in" / f"{index}.png").write_bytes(picture(index))
    table = tmp_path / "in" / "labels.csv"
    table.write_text(
        "file,label,defect_type\n0.png,good,\n1.png,fine,\n2.png,good,dent\n3.png,good,\n", encoding="utf-8"
    )
    plan = plan_import(table, dataset=DATASET, class_name=CLASS)
    with pytest.raises(DataError) as caught:
        run_import(plan, reviewer="Importer")
    said = str(caught.value)
    assert said.startswith("3 entries are wrong, so nothing was imported.")
    for expected in (
        "labels.csv, line 3: the label is 'fine'; allowed: good, defect, unsure, none",
        "labels.csv, line 4: the defect type 'dent' stands beside the label 'good'",
        "labels.csv, line 5: 3.png is not there, and no image of the class has that name",
    ):
        assert expected in said
    assert items() == []
    assert run_import(plan, reviewer="Importer", skip_bad=True).kinds == {"new": 1}
    assert labels() == {"0.png": "good"}


def test_a_file_that_changes_between_looking_and_storing_stores_nothing(tmp_path: Path) -> None:
    three()
    annotate.draw(item("a.png"), random_mask(1), reviewer="Me")
    folder, _ = export_folder(plan_export(ALL, CSV), tmp_path / "out")
    other = tmp_path / "other.csv"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["mask"])
    other.write_text(f"file,label,mask\nout/{row['file']},defect,new.png\n", encoding="utf-8")
    from skrd4ad.services.labelling.files import mask_png

    (tmp_path / "new.png").write_bytes(mask_png(random_mask(5)))
    plan = plan_import(other, dataset=DATASET, class_name=CLASS)
    (tmp_path / "new.png").write_bytes(mask_png(random_mask(6)))
    with pytest.raises(DataError, match="was changed while it was imported"):
        run_import(plan, reviewer="Importer", conflicts="theirs")
    assert item("a.png").latest.number == 2


@pytest.mark.parametrize("packed", [True, False])
def test_images_whose_files_are_gone_are_found_again(tmp_path: Path, packed: bool) -> None:
    three()
    plan = plan_export(ALL, CSV)
    source = export() if packed else export_folder(plan, tmp_path / "out")[0]
    stored_path(item("a.png").file).unlink()
    looked = plan_import(source, name="l.zip" if packed else None, dataset=DATASET, class_name=CLASS)
    assert looked.changed == {"keep": 1, "theirs": 1}
    imported = run_import(looked, reviewer="Importer")
    assert (imported.kinds, imported.decisions, imported.found_again) == ({"same": 3}, 0, 1)
    assert stored_path(item("a.png").file).read_bytes() == picture(0)
    assert (item("a.png").latest.number, Path(item("a.png").file).is_absolute()) == (1, not packed)


def test_who_imports_and_how_is_checked() -> None:
    three()
    plan = plan_import(export(), name="l.zip", dataset=DATASET, class_name=CLASS)
    with pytest.raises(ConfigError, match="reviewer's name"):
        run_import(plan, reviewer=" ")
    with pytest.raises(ConfigError, match="'mine' is asked for; allowed: keep, theirs"):
        run_import(plan, reviewer="I", conflicts="mine")


def test_counts_in_words() -> None:
    counts = {"new": 12, "same": 3, "differs": 2}
    assert kinds_line(counts, "keep") == "12 new; 3 the same; 2 different: yours stay."
    assert kinds_line(counts, "theirs") == "12 new; 3 the same; 2 different: theirs are taken."


def test_sizes_and_progress_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three()
    content = export()
    seen: list[tuple[int, int]] = []
    with other_workspace(tmp_path / "other", monkeypatch):
        plan = plan_import(
            content,
            name="l.zip",
            dataset=DATASET,
            class_name=CLASS,
            task=Task(show=lambda at: seen.append((at.done, at.total))),
        )
        assert seen == [(done, 6) for done in range(1, 7)]
        seen.clear()
        run_import(plan, reviewer="I", task=Task(show=lambda at: seen.append((at.done, at.total))))
        assert seen == [(1, 3), (2, 3), (3, 3)]
        assert {(one.width, one.height) for one in items()} == {(WIDTH, HEIGHT)}
