import csv
import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.images.read import read_mask
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.transfer import export_folder, export_lines, export_zip, export_zip_bytes
from skrd4ad.services.labelling.files import load_mask_file, stored_path
from skrd4ad.task import Task
from tests.label_world import ALL, HEIGHT, WIDTH, files_of, fill_workspace, item, items, picture, put, random_mask

MVTEC = ExportOptions(format="mvtec")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools


@pytest.fixture
def labelled(home: Path) -> None:
    fill_workspace()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_our_own_reader_takes_the_layout_for_what_was_labelled(labelled: None, tmp_path: Path) -> None:
    folder, _ = export_folder(plan_export(ALL, MVTEC), tmp_path / "made")
    (found,) = find_classes(folder)
    assert (found.name, found.dataset, found.layout) == ("disc", "made", "mvtec")
    by_digest = {one.digest: one for one in items()}
    exported = {file_digest(sample.path): sample for sample in found.samples}
    assert set(exported) == {one.digest for one in by_digest.values() if one.label in ("good", "defect")}
    for digest, sample in exported.items():
        labelled_as = by_digest[digest]
        assert sample.label == (labelled_as.label == "defect")
        assert sample.path.read_bytes() == stored_path(labelled_as.file).read_bytes()
        assert (sample.mask_path is None) == (labelled_as.mask_file is None)
        if sample.mask_path is not None and labelled_as.mask_file is not None:
            assert np.array_equal(read_mask(sample.mask_path), load_mask_file(labelled_as.mask_file))
    folders = {item_name: exported[item(item_name).digest].defect_type for item_name in ("part_mask.png", "photograph")}
    assert folders == {"part_mask.png": "defect_ok", "photograph": "Scratch"}, "ok would read as good parts"
    assert [finding.code for finding in examine([found], image_size=64).findings if finding.severity == "error"] == []


def test_good_images_stay_where_the_data_set_has_them_and_no_image_changes_sides_later(labelled: None) -> None:
    before = {each.item.digest: each.split for each in plan_export(ALL, MVTEC).images}
    assert before[item("good 1.png").digest] == "train"
    assert before[item("good 2.png").digest] == "test"
    for index in range(300, 400):
        annotate.decide(put(f"more {index}.png", picture(index)), "good", reviewer="A")
    plan = plan_export(ALL, MVTEC)
    after = {each.item.digest: each.split for each in plan.images}
    assert {digest: after[digest] for digest in before} == before
    assert 10 <= plan.count("good", "test") <= 35
    none = plan_export(ALL, replace(MVTEC, test_share=0))
    assert (none.count("good", "test"), none.count("defect", "test")) == (1, 6), "only what the data set tests on"


@pytest.mark.parametrize("count", range(2, 6))
def test_of_a_few_good_images_both_sides_get_one(count: int) -> None:
    for index in range(count):
        annotate.decide(put(f"{index}.png", picture(index)), "good", reviewer="A")
    plan = plan_export(ALL, replace(MVTEC, test_share=0.01))
    assert (plan.count("good", "train"), plan.count("good", "test")) == (count - 1, 1)


def test_what_is_left_out_is_counted_and_said(labelled: None) -> None:
    stored_path(item("good 5.png").file).unlink()
    plan = plan_export(ALL, MVTEC)
    assert (len(plan.images), plan.unsure, plan.undecided, plan.missing) == (17, 1, 1, ("good 5.png",))
    said = "\n".join(export_lines(plan))
    for expected in (
        "17 images: 11 good, 6 defects; 5 masks.",
        "2 scratch",
        "1 without a type",
        "1 defect without a mask.",
        "Left out: 1 unsure.",
        "Left out: 1 that nobody has decided on.",
        "Left out: 1 whose files are gone (good 5.png).",
    ):
        assert expected in said


def test_an_image_that_was_changed_meanwhile_is_left_out_and_the_rest_written(labelled: None) -> None:
    plan = plan_export(ALL, MVTEC)
    stored_path(item("good 5.png").file).write_bytes(picture(999))
    damaged = item("photograph").digest
    stored_path(item("a/part.png").mask_file or "").write_bytes(b"no mask")
    content, exported = export_zip_bytes(plan)
    assert {problem.where for problem in exported.left_out} == {"good 5.png", "a/part.png"}
    assert "changed since it was labelled" in str(exported.left_out[1])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rows = rows_of(archive.read("labels.csv"))
    assert len(rows) == exported.images == 16
    assert damaged in {row["sha256"] for row in rows}


def test_the_same_labels_make_the_same_bytes_and_a_zip_holds_the_files_of_the_folder(
    labelled: None, tmp_path: Path
) -> None:
    plan = plan_export(ALL, MVTEC)
    seen: list[tuple[int, int]] = []
    content, _ = export_zip_bytes(plan, task=Task(show=lambda at: seen.append((at.done, at.total))))
    assert seen == [(done, 18) for done in range(1, 19)]
    export_zip(plan, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == content
    folder, _ = export_folder(plan, tmp_path / "folder")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files_of(folder)
    with pytest.raises(CheckpointError, match="exists already"):
        export_folder(plan, folder)


def test_the_workspace_takes_exports_under_new_names(labelled: None, home: Path) -> None:
    plan = plan_export(ALL, replace(MVTEC, format="csv"))
    folders = [export_folder(plan)[0] for _ in range(2)]
    assert [folder.relative_to(home.resolve()).as_posix() for folder in folders] == [
        "exports/parts-disc-csv",
        "exports/parts-disc-csv-2",
    ]


def test_file_names_are_safe_and_no_two_stems_are_equal(labelled: None) -> None:
    names = [each.file_name for each in plan_export(ALL, MVTEC).images]
    stems = [Path(name).stem.casefold() for name in names]
    assert len(set(stems)) == len(stems)
    assert {"part.png", "part-2.png", "part_mask-image.png", "photograph.png", "évil__.PNG"} <= set(names)
    assert not any(set(name) & set('/\\:*?"<>|') for name in names)


def test_no_field_of_a_table_is_a_formula(labelled: None, tmp_path: Path) -> None:
    folder, _ = export_folder(plan_export(ALL, ExportOptions(format="csv", unsure=True)), tmp_path / "csv")
    for table in ("labels.csv", "history.csv"):
        with (folder / table).open(encoding="utf-8", newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    rows = rows_of((folder / "labels.csv").read_bytes())
    assert {"'=cmd|' /C calc'!A0.png", "photograph"} <= {row["name"] for row in rows}
    assert {row["reviewer"] for row in rows} == {"A. Weber", "Ünal, B.", "'=1+1"}


def test_a_table_tells_where_each_image_and_mask_is(labelled: None, tmp_path: Path) -> None:
    folder, _ = export_folder(plan_export(ALL, ExportOptions(format="csv")), tmp_path / "csv")
    rows = rows_of((folder / "labels.csv").read_bytes())
    assert Counter(row["label"] for row in rows) == {"good": 12, "defect": 6}
    for row in rows:
        assert file_digest(folder / row["file"]) == row["sha256"]
        mask = next(one.mask_file for one in items() if one.digest == row["sha256"])
        assert (row["mask"] != "") == (mask is not None)
        if mask is not None:
            assert np.array_equal(read_mask(folder / row["mask"]), load_mask_file(mask))


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_pycocotools_reads_the_file_and_decodes_our_masks(labelled: None, tmp_path: Path, segmentation: str) -> None:
    options = ExportOptions(format="coco", segmentation=segmentation, unsure=True)
    folder, _ = export_folder(plan_export(ALL, options), tmp_path / "coco")
    coco = COCO(str(folder / "annotations.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert sorted(names.values()) == ["Scratch", "defect", "dent & hole", "ok", "scratch"]
    by_digest = {one.digest: one for one in items()}
    for image in coco.loadImgs(coco.getImgIds()):
        content = (folder / "images" / image["file_name"]).read_bytes()
        assert (image["width"], image["height"]) == (WIDTH, HEIGHT)
        labelled_as = by_digest[content_digest(content)]
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        decoded = np.zeros((HEIGHT, WIDTH), bool)
        for annotation in annotations:
            region = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == region.sum() > 0
            assert annotation["bbox"] == coco_mask.toBbox(coco.annToRLE(annotation)).tolist()
            assert not (decoded & region).any()
            decoded |= region
            assert names[annotation["category_id"]] == (labelled_as.defect_type or "defect")
        if labelled_as.label == "defect" and labelled_as.mask_file is not None:
            assert np.array_equal(decoded, load_mask_file(labelled_as.mask_file))
        else:
            assert annotations == [], "neither good parts nor doubts are annotated"
    assert len(coco.getImgIds()) == 19
    assert len(coco.getImgIds()) - len({each["image_id"] for each in coco.loadAnns(coco.getAnnIds())}) == 14


def test_each_connected_region_is_an_annotation(home: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:5, 2:5] = mask[5, 5] = True  # joined at a corner
    mask[10:14, 20:24] = True
    annotate.draw(put("a.png", picture(1)), mask, reviewer="A")
    content, _ = export_zip_bytes(plan_export(ALL, ExportOptions(format="coco", segmentation="polygons")))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = json.loads(archive.read("annotations.json"))["annotations"]
    assert [(each["id"], each["area"], each["bbox"], each["iscrowd"]) for each in found] == [
        (1, 10, [2, 2, 4, 4], 0),
        (2, 16, [20, 10, 4, 4], 0),
    ]
    assert [len(each["segmentation"]) for each in found] == [2, 1]


def test_a_model_adds_its_scores_to_the_table_and_changes_nothing_else(labelled: None, tmp_path: Path) -> None:
    from skrd4ad.storage.database import workspace_database
    from skrd4ad.storage.labelled_images import PredictionRow, save_predictions

    digest = item("good 3.png").digest
    with workspace_database().write() as session:
        save_predictions(session, {digest: PredictionRow(0.25)}, model_digest="m" * 64, model_folder=Path("m"))
    options = ExportOptions(format="csv")
    plain, _ = export_folder(plan_export(ALL, options), tmp_path / "plain")
    scored, _ = export_folder(plan_export(replace(ALL, model_digest="m" * 64), options), tmp_path / "scored")
    before, after = (rows_of((folder / "labels.csv").read_bytes()) for folder in (plain, scored))
    assert [(row["sha256"], row["score"]) for row in after if row["score"]] == [(digest, "0.25")]
    assert [{**row, "score": "", "model": ""} for row in after] == before
    rest = [{name: content for name, content in files_of(f).items() if name != "labels.csv"} for f in (plain, scored)]
    assert rest[0] == rest[1]


def test_labels_alone_hold_no_images_and_need_none(labelled: None) -> None:
    stored_path(item("good 5.png").file).unlink()
    plan = plan_export(ALL, ExportOptions(format="csv", images=False))
    assert (plan.missing, plan.size, plan.count("good")) == ((), 0, 12)
    assert export_zip_bytes(plan)[1].left_out == ()
    content, exported = export_zip_bytes(plan_export(ALL, ExportOptions(format="coco", images=False)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["annotations.json"]
    # COCO needs the size, which was not stored when nobody ever saw the image
    assert [problem.where for problem in exported.left_out] == ["good 5.png"]


def test_every_wrong_option_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ExportOptions(format="voc", segmentation="mask", test_share=1)
    assert all(word in str(caught.value) for word in ("'voc'", "'mask'", "from 0 to under 1"))
    with pytest.raises(ConfigError, match="choose COCO or CSV"):
        ExportOptions(format="mvtec", images=False)


def test_random_masks_survive_every_format(tmp_path: Path) -> None:
    for seed in range(30):
        annotate.draw(
            put(f"{seed}.png", picture(seed)), random_mask(seed + 60), reviewer="A", defect_type=f"t{seed % 3}"
        )
    folder, _ = export_folder(plan_export(ALL, ExportOptions(format="coco", segmentation="polygons")), tmp_path / "c")
    coco = COCO(str(folder / "annotations.json"))
    for image in coco.loadImgs(coco.getImgIds()):
        ours = load_mask_file(item(image["file_name"]).mask_file or "")
        theirs = sum(coco.annToMask(each) for each in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])))
        assert np.array_equal(theirs > 0, ours)
