"""Files that other tools' own libraries wrote (see ``golden/README.md``), and what is written for these tools."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_mask
from skrd4ad.errors import DataError
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.exchange.formats import label_studio
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.records import Format
from skrd4ad.services.labelling.exchange.store import ImportPlan, run_import
from skrd4ad.services.labelling.exchange.transfer import export_zip_bytes, plan_import
from skrd4ad.services.labelling.files import load_mask_file
from tests.label_world import ALL, CLASS, DATASET, fill_workspace, items, other_workspace, picture, put

GOLDEN = Path(__file__).parent / "golden"
SCRATCH, DENT = read_mask(GOLDEN / "scratch_mask.png"), read_mask(GOLDEN / "dent_mask.png")
SQUARE = np.zeros(DENT.shape, bool)
SQUARE[2:9, 5:12] = True
"""The dent as a polygon, which has no hole."""
THICK = np.zeros(DENT.shape, bool)
THICK[3:5, 2:14] = THICK[7:11, 4:9] = True
"""What supervision was given."""
Found = dict[str, tuple[str, str | None, bytes | None]]


@pytest.fixture(autouse=True)
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return home


def look(content: bytes, name: str = "labels.zip", **options: Any) -> ImportPlan:
    return plan_import(content, name=name, dataset=DATASET, class_name=CLASS, **options)


def zipped(*names: str, images: str = "", **more: bytes) -> bytes:
    """Golden files and folders, with the images in a folder of that name where they bring none."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            top = GOLDEN / name
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(GOLDEN if top.is_file() else top).as_posix())
        for path in sorted((GOLDEN / "images").iterdir()) if images else ():
            archive.write(path, f"{images}/{path.name}")
        for name, content in more.items():
            archive.writestr(name, content)
    return stream.getvalue()


def stored() -> Found:
    """Label, type and mask of all images that somebody decided on."""
    return {
        each.name: (each.label, each.defect_type, each.mask_file and load_mask_file(each.mask_file).tobytes())
        for each in items()
        if each.label != "none"
    }


def bits(mask: NDArray[np.bool_]) -> bytes:
    return mask.tobytes()


OK = ("good", None, None)
EXACT: Found = {
    "ok.png": OK,
    "scratch.png": ("defect", "scratch", bits(SCRATCH)),
    "dent.png": ("defect", "dent", bits(DENT)),
}
POLYGON = ("defect", "dent", bits(SQUARE))
WITH_BOX: Found = {"dent.png": ("defect", "dent", None), "ok.png": OK}
"""A box beside the polygon: no mask, as it would be measured as if the rest were good."""
READ: dict[str, tuple[Format, bytes, bool, Found]] = {
    "cvat": ("cvat", zipped("cvat"), False, EXACT),
    "cvat polygons": ("cvat", zipped("cvat_polygons"), True, WITH_BOX),
    "datumaro": ("datumaro", zipped("datumaro"), False, EXACT),
    "datumaro polygons": ("datumaro", zipped("datumaro_polygons"), True, WITH_BOX),
    "voc": ("voc", zipped("voc_segmentation"), True, EXACT),
    "coco in subsets": ("coco", zipped("coco_instances"), True, EXACT),
    "yolo boxes": (
        "yolo",
        zipped("yolo_ultralytics"),
        True,
        {"dent.png": ("defect", "scratch", None), "ok.png": OK},
    ),
    "label studio": (
        "label-studio",
        zipped("label_studio.json", images="anywhere"),
        False,
        {**EXACT, "dent.png": POLYGON},
    ),
    "label studio's coco": ("coco", zipped("label_studio_coco", images="images"), False, {"dent.png": POLYGON}),
    "via": (
        "via",
        zipped("via.json", images="images"),
        False,
        {"ok.png": OK, "dent.png": POLYGON, "scratch.png": ("defect", "scratch", None)},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_tools_write_is_read_to_the_pixel(name: str) -> None:
    format, content, empty_is_good, expected = READ[name]
    plan = look(content, empty_is_good=empty_is_good)
    assert (plan.valid.format, plan.valid.problems) == (format, ())
    run_import(plan, reviewer="I")
    assert stored() == expected


def test_labelme_masks_polygons_circles_and_flags() -> None:
    plan = look(zipped("labelme"))
    assert (plan.valid.format, plan.valid.problems) == ("labelme", ())
    run_import(plan, reviewer="I")
    found = stored()
    assert (found["ok.png"], found["scratch.png"]) == (OK, EXACT["scratch.png"])
    y, x = np.mgrid[: SQUARE.shape[0], : SQUARE.shape[1]] + 0.5
    circle = (x - 3) ** 2 + (y - 3) ** 2 < 1
    assert found["dent.png"] == ("defect", "dent", bits(SQUARE | circle))


@pytest.mark.parametrize("name", ["sv_coco", "sv_yolo"])
def test_contours_through_the_middles_of_pixels_are_read_so_when_asked_for(name: str) -> None:
    plan = look(zipped(name))
    told = [note for note in plan.valid.notes if "--pixel-centres" in note]
    if name == "sv_coco":  # YOLO tells no areas
        assert told == [
            "2 polygons clearly smaller than the file says, the first has 11 of 24 pixels. They seem to run through "
            "the middles of pixels, as OpenCV and supervision trace them: read them so (--pixel-centres) to lose "
            "nothing of thin defects."
        ]
    plan = look(zipped(name), pixel_centres=True)
    assert not [note for note in plan.valid.notes if "--pixel-centres" in note]
    run_import(plan, reviewer="I")
    assert stored()["scratch.png"] == ("defect", "scratch" if name == "sv_coco" else "dent", bits(THICK))


def test_a_contour_without_an_area_is_told_and_read_as_opencv_traced_it() -> None:
    line = np.zeros((16, 24), np.uint8)
    line[4, 3:20] = 1
    line[5, 19] = 1
    (contour,), _ = cv2.findContours(line, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    flat = contour.reshape(-1).tolist()
    document = {
        "images": [{"id": 0, "file_name": "1.png", "width": 24, "height": 16}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 7, "iscrowd": 0, "segmentation": [flat]}],
        "categories": [{"id": 7, "name": "scratch"}],
    }
    content = zipped(**{"a.json": json.dumps(document).encode(), "1.png": picture(1)})
    run_import(look(content, pixel_centres=True), reviewer="I")
    assert stored()["1.png"] == ("defect", "scratch", line.astype(bool).tobytes())


def coco(categories: list[str], annotated: dict[str, list[int]], folder: str = "") -> bytes:
    box = [0, 0, 4, 0, 4, 4, 0, 4]
    pairs = [(name, kind) for name, kinds in annotated.items() for kind in kinds]
    names = list(annotated)
    return json.dumps(
        {
            "images": [{"id": i, "file_name": folder + n, "width": 24, "height": 16} for i, n in enumerate(names)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
            "annotations": [
                {"id": i, "image_id": names.index(name), "category_id": kind, "area": 16, "segmentation": [box]}
                for i, (name, kind) in enumerate(pairs)
            ],
        }
    ).encode()


@pytest.mark.parametrize("word", ["good", "OK", "normal", "Pass", "background"])
def test_categories_that_mean_good_mark_good_parts(word: str) -> None:
    content = coco([word, "dent"], {"1.png": [0], "2.png": [0, 1]})
    plan = look(zipped(**{"a.json": content, "1.png": picture(1), "2.png": picture(2)}))
    assert plan.valid.problems == ()
    assert set(plan.valid.notes) == {
        f"1 image marked as {word} alone: taken as good parts.",
        "1 image with defects beside what means good: the latter was left out.",
    }
    run_import(plan, reviewer="I")
    found = stored()
    assert found["1.png"] == OK
    assert found["2.png"][:2] == ("defect", "dent")


def test_names_are_found_wherever_they_lie_and_of_several_both_are_said() -> None:
    pictures = {"deep/er/0a1b2c3d-x.png": picture(1), "Train/y.png": picture(2), "Test/y.png": picture(3)}
    content = coco(["dent"], {"0a1b2c3d-x.png": [0], "y.png": [0]}, folder="..\\..\\upload\\4\\")
    plan = look(zipped(**{"a.json": content, **pictures}))
    assert [str(each) for each in plan.valid.problems] == [
        "image 1: ..\\..\\upload\\4\\y.png may be Test/y.png or Train/y.png; give paths that tell them apart"
    ]
    assert [each.location for each in plan.valid.entries] == ["deep/er/0a1b2c3d-x.png"]
    # the name of the file says which subset is meant
    plan = look(zipped(**{"annotations/instances_Train.json": coco(["dent"], {"y.png": [0]}), **pictures}))
    assert [each.location for each in plan.valid.entries] == ["Train/y.png"]


def test_an_uploaded_name_is_that_of_the_image_in_the_workspace() -> None:
    put("x.png", picture(1))
    task = label_studio.task(1, "/data/upload/4/0a1b2c3d-x.png", (16, 24), label="good", mask=None)
    plan = look(label_studio.document_bytes([task]), "tasks.json")
    assert plan.valid.problems == ()
    assert dict(plan.kinds) == {"new": 1}


@pytest.mark.parametrize("seed", range(4))
def test_a_brush_is_the_same_again(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((9, 14)) < (0.02, 0.3, 0.7, 1.1)[seed]
    assert np.array_equal(label_studio.decode_brush(label_studio.encode_brush(mask), mask.shape), mask)
    wide = np.zeros((200, 400), bool)
    wide[50:150, 3] = wide[199] = True
    assert np.array_equal(label_studio.decode_brush(label_studio.encode_brush(wide), wide.shape), wide)


@pytest.mark.parametrize("format", ["cvat", "label-studio", "yolo"])
def test_the_file_of_a_tool_holds_every_pixel(format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_workspace()
    thin = np.zeros((16, 24), bool)
    thin[range(3, 14), range(5, 16)] = thin[2, 4:22] = True
    annotate.draw(put("thin.png", picture(300)), thin, reviewer="A", defect_type="scratch")
    content, _ = export_zip_bytes(plan_export(ALL, ExportOptions(format=format, unsure=True)))
    expected = {
        each.digest: (each.label, each.defect_type, each.mask_file and load_mask_file(each.mask_file).tobytes())
        for each in items()
        if each.label != "none"
    }
    with other_workspace(tmp_path / "other", monkeypatch):
        plan = look(content, format=format, empty_is_good=True)
        assert plan.valid.problems == ()
        run_import(plan, reviewer="I")
        found = {
            each.digest: (each.label, each.defect_type, each.mask_file and load_mask_file(each.mask_file).tobytes())
            for each in items()
        }
    for digest, (label, kind, mask) in expected.items():
        if format == "yolo" and (label == "unsure" or (label == "defect" and mask is None)):
            assert digest not in found, "it has no text of labels"
            continue
        kind = {None: "defect" if label == "defect" else None, "ok": "defect_ok"}.get(kind, kind)
        assert found[digest] == (label, kind, None if label == "unsure" else mask)


def test_labels_of_yolo_without_images_are_those_of_the_workspace() -> None:
    put("x.png", picture(1))
    content = zipped(**{"labels/x.txt": b"0 0 0 0.5 0 0.5 0.5\n", "classes.txt": b"dent\n"})
    plan = look(content)
    assert (plan.valid.format, plan.valid.problems, dict(plan.kinds)) == ("yolo", (), {"new": 1})


@pytest.mark.parametrize(
    ("inner", "wrong"),
    [
        (b"<polygon label='x' points='1,2;3,4'/>", "at least three corners"),
        (b"<polygon label='x' points='1,2;3,nan;5,6'/>", "y is 'nan'; allowed: a number"),
        (b"<mask label='x' rle='1,2' left='8' top='0' width='9' height='9'/>", "not within the image"),
        (b"<mask label='x' rle='1,2' left='0' top='0' width='9' height='9'/>", "do not sum to the 81"),
        (b"<blob label='x'/>", "it holds a <blob>"),
    ],
)
def test_what_is_wrong_in_a_cvat_file_is_named(inner: bytes, wrong: str) -> None:
    document = b"<annotations><image id='0' name='a.png' width='9' height='9'>%s</image></annotations>" % inner
    plan = look(zipped(**{"a.xml": document, "a.png": picture(1, width=9, height=9)}))
    assert wrong in str(plan.valid.problems[0])


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"rle": [0, 0, 0], "format": "rle", "brushlabels": ["x"]}, "ends before its pixels"),
        ({"rle": [0, 0, 255, 0, 0, 0], "format": "rle", "brushlabels": ["x"]}, "has 4 for each pixel"),
        ({"rle": [-1], "format": "rle", "brushlabels": ["x"]}, "numbers from 0 to 255"),
        ({"rle": [1], "format": "png", "brushlabels": ["x"]}, "stored as 'png'"),
        ({"rle": [1], "format": "rle", "brushlabels": ["x", "y"]}, "several labels: x, y"),
    ],
)
def test_what_is_wrong_in_a_label_studio_file_is_named(value: dict[str, Any], wrong: str) -> None:
    result = {"type": "brushlabels", "value": value, "original_width": 24, "original_height": 16}
    tasks = [{"id": 5, "data": {"image": "a.png"}, "annotations": [{"result": [result]}]}]
    plan = look(zipped(**{"a.json": json.dumps(tasks).encode(), "a.png": picture(1)}))
    assert wrong in str(plan.valid.problems[0]) and plan.valid.problems[0].where == "task 5"


def test_colours_of_a_label_map_are_classes() -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[2, 3:9], pixels[5, 5] = (10, 20, 30), (224, 224, 192)
    masks = {"SegmentationClass/1.png": cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()}
    labels = {"labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrack:10,20,30::\n"}
    plan = look(zipped(**masks, **labels, **{"JPEGImages/1.png": picture(1)}))
    assert plan.valid.notes == (
        "1 image with VOC's border (255) between regions: it counts as neither defect nor good.",
    )
    run_import(plan, reviewer="I")
    assert stored()["1.png"] == ("defect", "crack", bits((pixels == (10, 20, 30)).all(axis=2)))
    strange = {"labelmap.txt": b"background:0,0,0::\ncrack:1,1,1::\n"}
    plan = look(zipped(**masks, **strange, **{"JPEGImages/1.png": picture(1)}))
    assert "the colour (10, 20, 30) at 3, 2 is none of labelmap.txt" in str(plan.valid.problems[0])


def test_video_tracks_and_other_jsons_are_told() -> None:
    with pytest.raises(DataError, match="CVAT for video"):
        look(b"<annotations><track id='0'/></annotations>", "a.xml")
    content = zipped("via.json", images="images", **{"z.json": coco(["dent"], {"1.png": [0]})})
    assert "Not read, as not of VGG VIA: z.json." in look(content).valid.notes


def test_our_coco_begins_its_ids_with_1_and_has_no_crowds() -> None:
    fill_workspace()
    for segmentation in ("rle", "polygons"):
        options = ExportOptions(format="coco", segmentation=segmentation, images=False)
        content, _ = export_zip_bytes(plan_export(ALL, options))
        document = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("annotations.json"))
        assert [each["id"] for each in document["annotations"]] == [*range(1, len(document["annotations"]) + 1)]
        assert {each["iscrowd"] for each in document["annotations"]} == {0}
