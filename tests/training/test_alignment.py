"""Photographs turned and cropped to the part, from training to the verdict, on screws that lie anywhere and anyhow."""

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.alignment import fit_alignment, lie_of
from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.doctor.shape import input_size
from skrd4ad.data.images.find_part import aligned, find_part
from skrd4ad.data.images.read import read_image
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic.canvas import generator
from skrd4ad.data.synthetic.screw import LENGTH, SLACK
from skrd4ad.data.synthetic.write import render, write_synthetic
from skrd4ad.documents import read_values
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.export.manifest import ExportSettings
from skrd4ad.export.write import export_model
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.maps import Maps
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Inspection, limits_of, predict_images
from skrd4ad.model_folder.card import model_card
from skrd4ad.model_folder.info import CONFIG, config_values, read_info
from skrd4ad.model_folder.seen_images import split_holdout
from skrd4ad.regions import ScoringMask
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.inspection.nearest_patch import nearest_patch
from skrd4ad.services.inspection.skip_ablation import skip_ablation
from skrd4ad.training.placement import drawn
from skrd4ad.training.train import train
from skrd4ad.types import Alignment, DatasetClass, height_width
from tests.limits import LONG

Shared = Callable[[str, Callable[[Path], None]], Path]
RGB = NDArray[np.uint8]
SIDE = 128
SMALL = ModelConfig(image_size=64)
WITH_BANK = ModelConfig(image_size=64, fusion="agreement", retrieval=True)
CONFIG_OF = TrainConfig(epochs=1, batch_size=8, holdout=0.25, align="auto")


@pytest.fixture(scope="module")
def screws(shared: Shared) -> DatasetClass:
    sizes = {"train": 32, "test_good": 6, "per_defect": 1, "size": SIDE}
    root = shared("screws", lambda root: write_synthetic(root / "loose", classes=("loose_screw",), **sizes) and None)
    return open_dataset(root / "loose")[0]


@pytest.fixture(scope="module")
def folder(shared: Shared, screws: DatasetClass) -> Path:
    def fill(root: Path) -> None:
        train(screws, model=WITH_BANK, config=CONFIG_OF, out=root, source=str(screws.root))

    return min(shared("screw-model", fill).glob("*/*/*-res3/config.json")).parent


@pytest.fixture(scope="module")
def screw_predictor(folder: Path) -> Predictor:
    return Predictor.load(folder)


def inspected(predictor: Predictor, image: RGB, mask: ScoringMask | None = None) -> Inspection:
    (inspection,) = predict_images(
        predictor, [("part.png", png_bytes(image))], limits=limits_of(predictor.info), mask=mask
    )
    return inspection


def good(index: int, size: int = SIDE) -> RGB:
    return render("loose_screw", index=index, split="test", size=size)[0]


def test_screws_that_lie_anyhow_are_turned(screws: DatasetClass, folder: Path) -> None:
    info = read_info(folder)
    assert info.alignment is not None
    assert (info.alignment.turned, info.alignment.found, info.alignment.looked_at) == (True, 32, 32)
    assert str(info.alignment) == "Parts are turned to lie alike, and cropped; 32 of 32 found"
    assert f"| Part | {info.alignment} |" in model_card(info)
    (note,) = [each for each in examine([screws], image_size=64).findings if each.code == "alignment"]
    assert "32 of 32 good images have a part by itself" in note.message
    assert "turned to lie alike" in note.message


def test_all_screws_lie_with_the_same_end_left(screws: DatasetClass, folder: Path) -> None:
    alignment = read_info(folder).alignment
    assert alignment is not None
    heads = []
    for index, sample in enumerate(screws.train):
        seen = aligned(read_image(sample.path), (64, 64), alignment)
        assert seen is not None
        drawing = generator("loose_screw", "train", index, 0, "part")
        turn, x, y = drawing.uniform(0, 2 * np.pi), *drawing.uniform(-SLACK, SLACK, 2)
        head = (x - LENGTH / 2 * math.cos(turn), y - LENGTH / 2 * math.sin(turn))
        place = seen.matrix @ ((head[0] + 0.5) * SIDE - 0.5, (head[1] + 0.5) * SIDE - 0.5, 1)
        heads.append(place)
    spread = np.ptp(heads, axis=0)
    assert spread.max() < 3, "pixels of the model's input, of 64"


def test_textures_and_parts_in_one_place_are_seen_whole(disc: DatasetClass) -> None:
    assert fit_alignment(disc.train, "auto", size=64) == (None, frozenset())
    assert not [each for each in examine([disc], image_size=64).findings if each.code == "alignment"]
    fabric = [render("woven_fabric", index=index, split="train", size=SIDE)[0] for index in range(12)]
    parts = [(find_part(image) or (None,))[0] for image in fabric]
    assert lie_of(parts, [image.shape[:2] for image in fabric]).mode == "off"


def test_a_class_that_is_seen_whole_gets_the_model_of_before(
    disc: DatasetClass, tiny_model: tuple[Path, Path], tmp_path: Path
) -> None:
    config = TrainConfig(epochs=2, batch_size=4, holdout=0.25, align="auto")
    again = train(disc, model=SMALL, config=config, out=tmp_path, source=str(tiny_model[1]))
    before = read_info(tiny_model[0])
    assert (again.digest, again.alignment) == (before.digest, None)
    assert again.calibration is not None and before.calibration is not None
    assert again.calibration.scores == before.calibration.scores
    assert (again.folder / "reference.json").read_bytes() == (before.folder / "reference.json").read_bytes()
    values = read_values(again.folder / CONFIG)
    assert "alignment" not in values
    assert "align" not in values["train"]


def test_parts_that_only_lie_elsewhere_are_cropped() -> None:
    random = np.random.default_rng(0)
    screw = good(1)
    images = [drawn(screw, 0.6, *random.uniform(-0.15, 0.15, 2)) for _ in range(12)]
    parts = [(find_part(image) or (None,))[0] for image in images]
    lie = lie_of(parts, [image.shape[:2] for image in images])
    assert (lie.mode, lie.turned, lie.moved, lie.found) == ("crop", False, True, 12)
    assert lie_of(parts[:9], [image.shape[:2] for image in images[:9]]).mode == "off", "too few to tell"


def test_what_cannot_be_aligned_is_refused_when_it_is_asked_for(screws: DatasetClass, tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(png_bytes(np.full((64, 64, 3), 120, np.uint8)))
    samples = [*screws.train[:9], replace(screws.train[9], path=empty)]
    assert fit_alignment(samples, "auto", size=64) == (None, frozenset())
    with pytest.raises(DataError, match=r"found in 9 of 10 good images; align rotate needs one in 99% .* align off"):
        fit_alignment(samples, "rotate", size=64)
    with pytest.raises(ConfigError, match=r"align is 'turn'; allowed: auto, off, crop, rotate"):
        TrainConfig(align="turn")  # type: ignore[arg-type]


def test_limits_are_of_the_scores_that_inspection_gives(screws: DatasetClass, screw_predictor: Predictor) -> None:
    _, held_out = split_holdout(screws.train, share=CONFIG_OF.holdout, seed=CONFIG_OF.seed)
    calibration = screw_predictor.info.calibration
    assert calibration is not None
    found = sorted(inspected(screw_predictor, read_image(sample.path)).score or 0 for sample in held_out)
    np.testing.assert_allclose(found, calibration.scores, rtol=1e-4)
    one = screw_predictor.predict(read_image(held_out[0].path))
    assert min(abs(one.score - score) for score in found) < 1e-4


def test_the_map_lies_on_the_part_and_regions_in_the_photograph(screw_predictor: Predictor) -> None:
    def red(images: NDArray[np.uint8]) -> Maps:
        """A map that says how red the model's input is."""
        maps = np.clip(images[..., 0].astype(np.float32) - images[..., 1] - 60, 0, None) / 10
        embeddings = screw_predictor.batch(images).embeddings
        return Maps(levels=np.stack([maps], axis=1), maps=maps, scores=maps.max(axis=(1, 2)), embeddings=embeddings)

    predictor = screw_predictor.computed_by(red, runtime="red")
    for index in range(3):
        image = good(index, size=384)
        part, _ = find_part(image) or (None, None)
        assert part is not None
        x, y = (round(part.x + 60 * math.cos(part.angle)), round(part.y + 60 * math.sin(part.angle)))
        cv2.circle(image, (x, y), 9, (240, 30, 30), -1)
        cv2.circle(image, (20, 20), 9, (240, 30, 30), -1)  # off the part: it does not count
        found = inspected(predictor, image)
        assert found.prediction is not None and found.scored_map is not None
        assert found.prediction.view.startswith("cropped to the part, turned by ")
        (region,) = found.regions
        assert math.hypot(region.centroid[0] - x, region.centroid[1] - y) < 4
        assert abs((region.box[2] - region.box[0]) - 19) < 12
        assert found.score == region.peak == found.scored_map.max()
        plane = found.prediction.level_maps[0]
        np.testing.assert_array_equal(plane, found.prediction.anomaly_map)


def test_the_score_is_the_same_wherever_and_however_the_part_lies(screw_predictor: Predictor) -> None:
    image = good(3, size=384)
    ground = np.median(image.reshape(-1, 3), axis=0).tolist()
    scores = []
    for angle in (0, 50, 140, 200):
        matrix = cv2.getRotationMatrix2D((191.5, 191.5), angle, 1)
        turned = cv2.warpAffine(image, matrix, (384, 384), borderMode=cv2.BORDER_CONSTANT, borderValue=ground)
        found = inspected(screw_predictor, np.asarray(turned, np.uint8))
        assert found.prediction is not None
        scores.append(found.prediction.score)
    assert np.ptp(scores) < 0.25 * np.mean(scores)


def test_regions_to_ignore_move_with_the_part(screw_predictor: Predictor) -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = True  # the left half of every part as it is turned
    for index in range(3):
        image = good(index)
        everything, half = (
            inspected(screw_predictor, image),
            inspected(screw_predictor, image, ScoringMask(ignored=mask)),
        )
        assert everything.scored_map is not None and half.scored_map is not None
        part, _ = find_part(image) or (None, None)
        assert part is not None
        counted, left = everything.scored_map > 0, half.scored_map > 0
        assert 0.3 * counted.sum() < left.sum() < 0.7 * counted.sum()
        # what is left lies on one side of the middle of the part
        rows, columns = np.nonzero(left)
        scale = SIDE / left.shape[0]
        along = (columns * scale - part.x) * math.cos(part.angle) + (rows * scale - part.y) * math.sin(part.angle)
        assert (along > -6).all() or (along < 6).all()


def refusals() -> list[tuple[str, Callable[[RGB], RGB], str]]:
    def beside(image: RGB) -> RGB:
        changed = image.copy()
        changed[4:20, 4:20] = 40
        return changed

    def twice(image: RGB) -> RGB:
        small = drawn(image, 0.45, 0.0, 0.0)
        other = drawn(image, 0.45, 0.0, 0.4)
        return np.minimum(small, other)

    return [
        ("nothing", lambda image: np.full_like(image, 150), "no part found"),
        ("crop to 80 %", lambda image: image[13:-13, 13:-13], "than any good part|cut off"),
        ("at 70 %", lambda image: drawn(image, 0.7, 0, 0), "smaller than any good part"),
        ("cut off", lambda image: drawn(image, 1, 0.45, 0), "cut off by the border|shorter than any good part"),
        ("something beside", beside, "something lies beside the part"),
        ("two parts", twice, "two parts, or something as large"),
    ]


@pytest.mark.parametrize(("change", "reason"), [each[1:] for each in refusals()], ids=[each[0] for each in refusals()])
def test_what_is_not_one_whole_part_of_the_usual_size_cannot_be_judged(
    screw_predictor: Predictor, change: Callable[[RGB], RGB], reason: str
) -> None:
    image = good(4)
    assert inspected(screw_predictor, image).refusal is None
    found = inspected(screw_predictor, np.ascontiguousarray(change(image)))
    assert found.verdict == "CANNOT JUDGE"
    assert found.refusal is not None
    assert any(words in found.refusal for words in reason.split("|")), found.refusal


def test_a_screw_elsewhere_in_the_photograph_is_judged(screw_predictor: Predictor) -> None:
    assert inspected(screw_predictor, drawn(good(4), 1, 0.08, -0.05)).refusal is None


def test_what_looks_inside_the_model_looks_at_the_part(screws: DatasetClass, screw_predictor: Predictor) -> None:
    image = good(1, size=256)
    found = screw_predictor.predict(image)
    maps = skip_ablation(screw_predictor, image)
    np.testing.assert_allclose(maps[2], found.anomaly_map, atol=1e-5)
    assert maps[0].shape == found.anomaly_map.shape
    y, x = np.unravel_index(found.anomaly_map.argmax(), found.anomaly_map.shape)
    peak = ((x + 0.5) / found.anomaly_map.shape[1], (y + 0.5) / found.anomaly_map.shape[0])
    patch = nearest_patch(screw_predictor, image, screws, peak=peak)
    assert patch is not None
    assert patch.path in {sample.path for sample in screws.train}
    x0, y0, x1, y1 = patch.box
    assert x0 <= 256 * peak[0] <= x1
    assert y0 <= 256 * peak[1] <= y1
    part, _ = find_part(read_image(patch.path)) or (None, None)
    assert part is not None
    left, top, right, bottom = patch.good_box
    middle = ((left + right) / 2 - part.x, (top + bottom) / 2 - part.y)
    assert math.hypot(*middle) < part.length, "the good patch lies on the good part"
    assert max(right - left, bottom - top) < 0.8 * SIDE


def test_evaluation_compares_maps_and_masks_in_the_photograph(screws: DatasetClass, screw_predictor: Predictor) -> None:
    found = evaluate_model(screw_predictor, screws)
    assert found.in_tiles == 0
    assert found.data.maps is not None
    assert found.data.maps.shape[1:] == (64, 64)
    # an untrained eye finds no defect, but the part: nothing off it has a score
    assert found.metrics.pixel_auroc is not None and found.metrics.pixel_auroc > 0.8


def test_an_alignment_survives_its_document_and_damage_is_named(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    info = read_info(copy)
    assert isinstance(info.alignment, Alignment)
    assert config_values(info) == read_values(copy / CONFIG)
    bad = replace(info.alignment, shape=info.alignment.shape[:-1])
    assert "shape and profile of the alignment hold (1023, 32)" in bad.problem
    assert "frame of the alignment is 0" in replace(info.alignment, width=0).problem


def test_an_export_finds_the_part_as_the_program_does(folder: Path, screw_predictor: Predictor, tmp_path: Path) -> None:
    export = export_model(screw_predictor, ExportSettings(), out=tmp_path / "export")
    images = [tmp_path / f"{index}.png" for index in range(4)]
    for index, path in enumerate(images):
        path.write_bytes(png_bytes(np.full((64, 64, 3), 150, np.uint8) if index == 3 else good(index, size=200)))
    example = Path(__file__).parents[2] / "docs" / "use_export.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example), str(export.main_file), *map(str, images)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[3].endswith("cannot judge: no part found")
    calibration = screw_predictor.info.calibration
    assert calibration is not None
    for path, line in zip(images[:3], lines, strict=False):
        score = screw_predictor.predict(read_image(path)).score
        shown, verdict = line.rpartition("highest of the map ")[2].split(", ")
        assert float(shown) == pytest.approx(score, abs=1e-4)
        assert verdict == calibration.verdict(score)


def test_the_input_has_the_shape_of_the_part(screws: DatasetClass, disc: DatasetClass) -> None:
    assert input_size(screws.train) == input_size(screws.train, "off") == 256
    height, width = height_width(input_size(screws.train, "auto"))
    assert 3.5 < width / height < 6
    assert height * width <= 1.25 * 256 * 256
    assert input_size(disc.train, "auto") == 256
    (summary,) = examine([screws]).classes
    assert height_width(summary.image_size) == (height, width)
    (summary,) = examine([screws], align="off").classes
    assert summary.image_size == 256
