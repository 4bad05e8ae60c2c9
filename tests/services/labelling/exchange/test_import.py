"""Imports of files that somebody else made, by mistake or on purpose wrong ones among them."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.services.labelling.exchange import sources
from skrd4ad.services.labelling.exchange.store import ImportPlan, run_import
from skrd4ad.services.labelling.exchange.transfer import plan_import
from skrd4ad.services.labelling.files import load_mask_file, mask_png, stored_path
from tests.label_world import CLASS, DATASET, HEIGHT, WIDTH, item, items, picture, put, random_mask


@pytest.fixture(autouse=True)
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return home


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data root; ``tmp_path`` around it may not be read."""
    return tmp_path / "data"


def look(source: Path | bytes, name: str | None = None, **options: Any) -> ImportPlan:
    return plan_import(source, name=name, dataset=DATASET, class_name=CLASS, **options)


def bring(source: Path | bytes, name: str | None = None, **options: Any) -> ImportPlan:
    plan = look(source, name, **options)
    run_import(plan, reviewer="Importer")
    return plan


def packed(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def coco(images: list[Any], annotations: list[Any] = [], categories: list[Any] | None = None) -> bytes:  # noqa: B006
    known = [{"id": 1, "name": "dent"}, {"id": 2, "name": "crack"}] if categories is None else categories
    return json.dumps({"images": images, "annotations": annotations, "categories": known}).encode()


def image(number: int, name: str = "", **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name or f"{number}.png", "width": WIDTH, "height": HEIGHT, **more}


def annotation(number: int, image_id: int, segmentation: Any, *, category: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": category, "segmentation": segmentation, **more}


def shown() -> dict[str, tuple[str, str | None]]:
    return {one.name: (one.label, one.defect_type) for one in items()}


def problems(plan: ImportPlan) -> str:
    return "\n".join(map(str, plan.valid.problems))


# ---- CSV by hand


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_by_hand_beside_its_images(data: Path, separator: str) -> None:
    for index in range(3):
        (data / f"{index}.png").write_bytes(picture(index))
    (data / "m.png").write_bytes(mask_png(random_mask(1)))
    rows = [
        ("File", "LABEL", "defect_type", "mask", "comment", "reviewer", "made_at", "colour"),
        ("0.png", "Good", "", "", "", "", "", "red"),
        ("1.png", "defect", "dent", "m.png", '"a ""b"""', "Old Hand", "2024-02-01T10:00:00+01:00", ""),
        ("2.png", "", "", "", "", "", "", ""),
    ]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n"
    (data / "mine.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    plan = bring(data / "mine.csv")
    assert plan.kinds == {"new": 2, "undecided": 1}
    assert shown() == {"0.png": ("good", None), "1.png": ("defect", "dent"), "2.png": ("none", None)}
    assert Path(item("0.png").file) == data / "0.png", "an image on the server stays where it is"
    assert np.array_equal(load_mask_file(item("1.png").mask_file or ""), random_mask(1))
    assert item("1.png").latest.reviewer == "Importer"
    assert item("1.png").latest.comment == 'a "b" (decided by Old Hand on 2024-02-01 09:00 UTC)'
    assert bring(data / "mine.csv").kinds == {"same": 2, "undecided": 1}


def test_an_uploaded_table_finds_images_by_content_and_by_name() -> None:
    first, _ = put("a.png", picture(1)), put("b.png", picture(2))
    plan = bring(f"file,sha256,label\nx/y.png,{first.digest.upper()},good\nx/b.png,,defect\n".encode(), "t.csv")
    assert shown() == {"a.png": ("good", None), "b.png": ("defect", None)}
    assert plan.valid.notes == ("1 image found by name alone, as the file gives no sha256.",)


def test_a_name_that_two_images_have_is_not_guessed() -> None:
    put("a.png", picture(1)), put("a.png", picture(2))
    assert "2 images of the class have that name" in problems(look(b"file,label\na.png,good\n", "t.csv"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"", "lacks columns: found none; needed: label, file or sha256"),
        (b"file,kind\na,b\n", "lacks columns: found file, kind"),
        (b"file,label,FILE\na,good,b\n", "two columns of one name"),
        (b"file,label\n\xff\xfe,good\n", "no UTF-8 text"),
        (b'file,label\n"' + b"x" * 200_000 + b'",good\n', "Save the table as CSV again"),
    ],
)
def test_a_table_that_cannot_be_read(text: bytes, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        look(text, "t.csv")


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("a.png,,good,,,x", "made_at is 'x'; allowed"),
        ("a.png,,good,,,2024-01-01T10:00:00", "made_at is '2024-01-01T10:00:00'; allowed"),
        ("a.png,zz,good,,,", "sha256 is 'zz'"),
        (f"a.png,{'0' * 64},good,,,", "another content than its sha256 says"),
        ("a.png,,defect,a/b,,", "cannot be used"),
        ("a.png,,defect,,none.png,", "the mask none.png is not there"),
        ("a.png,,good,,mask.png,", "a mask stands beside the label 'good'"),
        ("a.png,,defect,,small.png,", "its mask has 3 x 2 pixels, the image 24 x 16"),
        ("a.png,,defect,,text.png,", "text.png"),
        ("text.png,,good,,,", "text.png"),
        (",,good,,,", "names neither a file nor a sha256"),
        ("../outside.png,,good,,,", "outside the folders this app may read"),
        ("/etc/passwd,,good,,,", "outside the folders this app may read"),
        ("..\\..\\outside.png,,good,,,", "outside the folders this app may read"),
        ("a\0.png,,good,,,", "characters that cannot be stored"),
        ("x" * 1001 + ",,good,,,", "file has 1001 characters"),
        ("link.png,,good,,,", "outside the folders this app may read"),
    ],
)
def test_a_wrong_row_is_named_and_stores_nothing(data: Path, tmp_path: Path, row: str, wrong: str) -> None:
    (data / "a.png").write_bytes(picture(1))
    (data / "mask.png").write_bytes(mask_png(random_mask(1)))
    (data / "small.png").write_bytes(mask_png(np.ones((2, 3), bool)))
    (data / "text.png").write_text("no image")
    (tmp_path / "outside.png").write_bytes(picture(2))
    (data / "link.png").symlink_to(tmp_path / "outside.png")
    (data / "t.csv").write_text(f"file,sha256,label,defect_type,mask,made_at\n{row}\n", encoding="utf-8")
    plan = look(data / "t.csv")
    assert "t.csv, line 2: " in problems(plan)
    assert wrong in problems(plan)
    with pytest.raises(DataError, match="1 entry is wrong"):
        run_import(plan, reviewer="I")
    with pytest.raises(DataError, match="nothing in it that can be imported"):
        run_import(plan, reviewer="I", skip_bad=True)
    assert items() == []


def test_the_command_line_reads_what_its_user_may_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "t.csv").write_text("file,label\na.png,good\n", encoding="utf-8")
    with pytest.raises(DataError, match="outside the folders"):
        look(tmp_path / "t.csv")
    bring(tmp_path / "t.csv", only_data_roots=False)
    assert shown() == {"a.png": ("good", None)}


@pytest.mark.parametrize(
    "history",
    [
        "{0},2,good,,,Me,2024-01-01T00:00:00+00:00,,",
        "{0},1,good,,,,2024-01-01T00:00:00+00:00,,",
        "{0},1,good,,,Me,,,",
        "{0},1,good,,,Me,2024-01-01T00:00:00+00:00,,1",
        "{0},0,good,,,Me,2024-01-01T00:00:00+00:00,,",
        "{0},1e9,good,,,Me,2024-01-01T00:00:00+00:00,,",
        ",1,good,,,Me,2024-01-01T00:00:00+00:00,,",
        "{0},1,good,,../../x.png,Me,2024-01-01T00:00:00+00:00,,",
    ],
)
def test_a_history_that_cannot_be_is_refused(data: Path, history: str) -> None:
    (data / "a.png").write_bytes(picture(1))
    digest = put("a.png", picture(1)).digest
    (data / "labels.csv").write_text(f"file,sha256,label\na.png,{digest},good\n", encoding="utf-8")
    columns = "sha256,revision,label,defect_type,mask,reviewer,made_at,comment,undoes"
    (data / "history.csv").write_text(f"{columns}\n{history.format(digest)}\n", encoding="utf-8")
    assert problems(look(data / "labels.csv"))


def test_the_same_image_twice_counts_once_and_contradictions_are_named(data: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (data / name).write_bytes(picture(1))
    (data / "t.csv").write_text("file,label\na.png,good\nb.png,good\nc.png,defect\n", encoding="utf-8")
    plan = look(data / "t.csv")
    assert plan.valid.notes == ("1 image more than once in it, with the same label: counted once.",)
    assert problems(plan) == "t.csv, line 4: it is the same image as t.csv, line 2, with another label"


# ---- COCO of other tools


def test_a_file_of_another_tool_with_all_kinds_of_masks(data: Path) -> None:
    (data / "images").mkdir()
    (data / "annotations").mkdir()
    for number in range(1, 7):
        (data / "images" / f"{number}.png").write_bytes(picture(number))
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, 3, HEIGHT * WIDTH - 3]}
    square = [2, 1, 6, 1, 6, 4, 2, 4]
    (data / "annotations" / "instances.json").write_bytes(
        coco(
            [image(number) for number in range(1, 7)],
            [
                annotation(1, 1, [square], area=12),
                annotation(2, 1, [[10.0, 10.0, 14.0, 10.0, 14.0, 12.0]], area=4, category=2),
                annotation(3, 2, runs, iscrowd=1),
                annotation(4, 3, [], bbox=[1, 1, 5, 5]),
                annotation(5, 4, [square, [20, 10, 24, 10, 24, 16, 20, 16]]),
            ],
        )
    )
    plan = bring(data / "annotations" / "instances.json")
    assert shown() == {
        "1.png": ("defect", "dent"),
        "2.png": ("defect", "dent"),
        "3.png": ("defect", "dent"),
        "4.png": ("defect", "dent"),
    }
    assert set(plan.valid.notes) == {
        "1 image with several types of defect: the one with the largest area was taken.",
        "1 image with boxes, lines or points but no mask: taken as defects without a mask.",
        "2 images without annotations: left out; they can be taken as good parts.",
    }
    first, second, fourth = (load_mask_file(item(f"{number}.png").mask_file or "") for number in (1, 2, 4))
    assert first[1:4, 2:6].all()
    assert 12 < first.sum() <= 12 + 8
    assert (second.sum(), second[:3, 0].all()) == (3, True)
    assert (fourth.sum(), fourth[10:, 20:].all()) == (12 + 24, True)
    assert item("3.png").mask_file is None, "a box is no mask"
    bring(data / "annotations" / "instances.json", empty_is_good=True)
    assert shown()["5.png"] == shown()["6.png"] == ("good", None)


def test_images_are_found_in_a_folder_beside_the_file_of_a_zip() -> None:
    content = packed(
        **{"set/train/_annotations.json": coco([image(1)], [annotation(1, 1, [[0, 0, 5, 0, 5, 5]])]),
           "set/train/1.png": picture(1)}
    )  # fmt: skip
    bring(content, "set.zip")
    assert shown() == {"1.png": ("defect", "dent")}
    assert stored_path(item("1.png").file).read_bytes() == picture(1)
    assert not Path(item("1.png").file).is_absolute()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"3", b"[" * 100_000, b'{"images": []}',
        b'{"images": {}, "annotations": [], "categories": []}',
        b'{"images": [], "annotations": [], "categories": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_coco_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"no JSON file|no COCO file"):
        look(content, "x.json")


def doubtful(**changes: Any) -> bytes:
    """A COCO file whose one image has the given values."""
    return coco([{**image(1), **changes}], [annotation(1, 1, [[0, 0, 5, 0, 5, 5]])])


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (doubtful(width=10**9, height=10**9), "height and width are 1000000000 and 1000000000; allowed"),
        (doubtful(width=-1), "height and width are 16 and -1"),
        (doubtful(width="24"), "height and width are 16 and '24'"),
        (doubtful(width=25), "1.png has 24 x 16 pixels; the file says 25 x 16"),
        (doubtful(file_name=None), "it names no image"),
        (doubtful(file_name=["a"]), "its name is ['a']; allowed: text"),
        (doubtful(file_name="../../home/skrd4ad.db"), "is not there, and no image of the class has that name"),
        (doubtful(file_name="/etc/hostname"), "outside the folders this app may read"),
        (doubtful(skrd4ad={"sha256": 5}), "sha256 is 5"),
        (doubtful(skrd4ad={"history": 5}), "history is 5; allowed: a list"),
        (doubtful(skrd4ad={"history": [5]}), "an entry of its history is no object"),
        (doubtful(skrd4ad={"history": [{"revision": 1, "label": "good"}]}), "lacks who decided"),
        (coco([image(1), image(1)]), "image 1: its id came before"),
        (coco([{"file_name": "1.png"}, 7, None, {"id": True}]), "image number 4: it has no id"),
        (coco([image(1)], [annotation(1, 9, [])]), "annotations of image 9: there is no such image"),
        (coco([image(1)], [annotation(1, 1, [], category=9)]), "its image_id or category_id is none of the file's"),
        (coco([image(1)], [annotation(1, [1], [])]), "its image_id or category_id is none of the file's"),
        (coco([image(1)], [], [{"id": 1, "name": "a/b"}]), "category 1: The defect type 'a/b' cannot be used"),
        (coco([image(1)], [annotation(1, 1, [[1, 2, 3]])]), "at least three corners"),
        (coco([image(1)], [annotation(1, 1, [[1, 2, 3, 4, 5, None]])]), "at least three corners"),
        (coco([image(1)], [annotation(1, 1, [[0, 0, 1e308, 0, 1e308, 9]])]), "at least three corners"),
        (coco([image(1)], [annotation(1, 1, [[0, 0, float("nan"), 0, 9, 9]])]), "at least three corners"),
        (coco([image(1)], [annotation(1, 1, "abc")]), "the segmentation is 'abc'; allowed: a list"),
        (coco([image(1)], [annotation(1, 1, {"size": [10**9, 10**9], "counts": "0"})]), "the run lengths are of size"),
        (coco([image(1)], [annotation(1, 1, {"size": [HEIGHT, WIDTH], "counts": "~~~"})]), "no compressed run lengths"),
        (coco([image(1)], [annotation(1, 1, {"size": [HEIGHT, WIDTH], "counts": [5]})]), "do not sum to the 384"),
        (coco([image(1)], [annotation(1, 1, {"size": [HEIGHT, WIDTH], "counts": [-5, 389]})]), "whole numbers from 0"),
        (coco([image(1)], [annotation(1, 1, {"size": [HEIGHT, WIDTH], "counts": 10**30})]), "run lengths is 1000"),
    ],
)  # fmt: skip
def test_hostile_entries_are_named_and_store_nothing(content: bytes, wrong: str) -> None:
    plan = look(packed(**{"a.json": content, "1.png": picture(1)}), "x.zip", empty_is_good=True)
    assert wrong in problems(plan)
    with pytest.raises(DataError, match="nothing was imported"):
        run_import(plan, reviewer="I")
    assert items() == []


# ---- folders and ZIP files


def test_a_labelled_folder_of_the_mvtec_layout(data: Path) -> None:
    for name in ("train/good/a.png", "test/ok/b.png", "test/dent/c.png", "test/defect/d.png", "test/dent/e.png"):
        path = data / "parts" / "disc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(ord(path.stem)))
    truth = data / "parts" / "disc" / "ground_truth" / "dent"
    truth.mkdir(parents=True)
    (truth / "c_mask.png").write_bytes(mask_png(random_mask(3)))
    (truth / "e.png").write_bytes(mask_png(np.zeros((HEIGHT, WIDTH), bool)))
    bring(data / "parts")
    assert shown() == {
        "a.png": ("good", None),
        "b.png": ("good", None),
        "c.png": ("defect", "dent"),
        "d.png": ("defect", None),
        "e.png": ("defect", "dent"),
    }
    assert np.array_equal(load_mask_file(item("c.png").mask_file or ""), random_mask(3))
    assert item("e.png").mask_file is None, "an empty mask is none"
    assert [(item(f"{n}.png").split, item(f"{n}.png").known_type) for n in "abc"] == [
        ("train", "good"),
        ("test", "good"),
        ("test", "dent"),
    ]
    assert all(one.latest.reviewer == "Importer" and one.origin == "import" for one in items())


def test_of_several_classes_the_one_of_that_name_is_taken() -> None:
    content = packed(**{"x/Disc/train/good/a.png": picture(1), "x/ring/train/good/b.png": picture(2)})
    bring(content, "x.zip")
    assert shown() == {"a.png": ("good", None)}
    with pytest.raises(DataError, match="None of the classes Disc, ring is 'bolt'"):
        plan_import(content, name="x.zip", dataset=DATASET, class_name="bolt")


def test_entries_that_lead_outside_the_zip_are_named() -> None:
    content = packed(
        **{"../a.png": picture(1), "b.png": picture(2), "t.csv": b"file,label\nb.png,good\n../a.png,good\n"}
    )
    plan = look(content, "x.zip")
    assert "its path leads outside the ZIP file" in problems(plan)
    assert "t.csv, line 3: ../a.png is not there" in problems(plan)


def test_a_zip_with_two_files_of_one_name_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")
    with pytest.raises(DataError, match="several files of one name"):
        look(stream.getvalue(), "x.zip")


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("x.zip", b"no zip", "no ZIP file"),
        ("x.zip", packed(**{"a.png": b"x"}), "There is nothing to import"),
        ("x.zip", packed(**{"a.json": b"{}", "b.json": b"{}"}), "holds several: a.json, b.json"),
        ("x.txt", b"", "allowed: a folder, .zip, .csv, .json"),
        ("x", b"", "allowed: a folder, .zip, .csv, .json"),
    ],
)
def test_what_cannot_be_imported_is_refused(name: str, content: bytes, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        look(content, name)


def test_a_place_that_is_not_there_and_a_format_that_is_not(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no"):
        look(data / "none.csv")
    with pytest.raises(DataError, match="outside the folders"):
        look(tmp_path)
    with pytest.raises(ConfigError, match="allowed: mvtec, coco, csv, cvat"):
        look(b"", "x.csv", format="xlsx")
    with pytest.raises(DataError, match=r"There is no \.json file"):
        look(data, format="coco")


def test_a_folder_that_is_too_large_or_leads_elsewhere_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "good").mkdir()
    for index in range(4):
        (data / f"{index}.png").write_bytes(b"x")
    monkeypatch.setattr(sources, "MAX_FILES", 3)
    with pytest.raises(DataError, match="over 3 files"):
        look(data)
    monkeypatch.setattr(sources, "MAX_FILES", 30)
    (tmp_path / "secret.csv").write_text("x")
    (data / "t.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(DataError, match="outside the folders"):
        look(data)


def test_a_table_that_is_too_large_is_refused_before_it_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_TABLE_BYTES", 10)
    (data / "t.csv").write_bytes(b"file,label\n" * 3)
    for source, name in ((data / "t.csv", None), (b"file,label\n" * 3, "t.csv")):
        with pytest.raises(DataError, match="Split it"):
            look(source, name)
