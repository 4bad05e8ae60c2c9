from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.store import run_import
from skrd4ad.services.labelling.exchange.transfer import export_folder, export_zip_bytes, plan_import
from tests.label_world import ALL, CLASS, DATASET, files_of, fill_workspace, holding, item, items, other_workspace

VARIANTS = {
    "mvtec": ExportOptions(format="mvtec", unsure=True),
    "coco": ExportOptions(format="coco", unsure=True),
    "polygons": ExportOptions(format="coco", segmentation="polygons", unsure=True),
    "csv": ExportOptions(format="csv", unsure=True),
    "cvat": ExportOptions(format="cvat", unsure=True),
    "label-studio": ExportOptions(format="label-studio", unsure=True),
    "yolo": ExportOptions(format="yolo", unsure=True),
}


@pytest.fixture(autouse=True)
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path))
    return home


@pytest.fixture
def labelled(home: Path) -> None:
    fill_workspace()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_round_trip_through_an_empty_workspace_changes_nothing(
    variant: str, labelled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, exported = export_zip_bytes(plan_export(ALL, VARIANTS[variant]))
    assert (exported.images, exported.left_out) == (19, ())
    before = {one.digest: holding(one) for one in items() if one.label != "none"}
    histories = {digest: annotate.history_of(digest) for digest in before}
    with other_workspace(tmp_path / "other", monkeypatch):
        plan = plan_import(content, name="labels.zip", dataset=DATASET, class_name=CLASS)
        assert plan.valid.problems == ()
        imported = run_import(plan, reviewer="C. Importer")
        assert (imported.kinds, imported.images) == ({"new": 19}, 19)
        assert {one.digest: holding(one) for one in items()} == before
        assert {digest: annotate.history_of(digest) for digest in before} == histories
        assert {one.origin for one in items()} == {"import"}
        again, _ = export_zip_bytes(plan_export(ALL, VARIANTS[variant]))
        assert again == content


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_folder_is_imported_in_place_and_gives_the_same_folder_again(
    variant: str, labelled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = export_folder(plan_export(ALL, VARIANTS[variant]), tmp_path / "out")
    with other_workspace(tmp_path / "other", monkeypatch):
        run_import(plan_import(folder, dataset=DATASET, class_name=CLASS), reviewer="C")
        assert all(Path(one.file).is_relative_to(folder) for one in items())
        assert not (tmp_path / "other" / "uploads").exists()
        again, _ = export_folder(plan_export(ALL, VARIANTS[variant]), tmp_path / "again")
        assert files_of(again) == files_of(folder)


def test_every_database_takes_an_import(any_database: str, tmp_path: Path) -> None:
    fill_workspace()
    content, _ = export_zip_bytes(plan_export(ALL, VARIANTS["csv"]))
    imported = run_import(plan_import(content, name="l.zip", dataset=DATASET, class_name="other"), reviewer="C")
    assert (imported.kinds, imported.to_class, imported.images) == ({"same": 19}, 19, 0)
    there = replace(ALL, class_name="other")
    assert len(plan_export(there, VARIANTS["mvtec"]).images) == 19
    first = item("good 0.png")
    table = f"sha256,label,comment\n{first.digest},defect,late\n".encode()
    plan = plan_import(table, name="t.csv", dataset=DATASET, class_name="other")
    assert run_import(plan, reviewer="C", conflicts="theirs").decisions == 1
    assert (item("good 0.png").label, item("good 0.png").latest.number) == ("defect", 2)
