"""The parts that stand for a model on the first screen."""

import io
import json

import numpy as np
from PIL import Image

from skrd4ad.model_folder.pictures import PARTS, PICTURES, read_pictures
from skrd4ad.services.evaluation.pictures import draw_pictures
from tests.evaluation_world import EvaluationWorld


def test_a_good_part_that_passes_and_rejected_defects_with_their_heat_are_kept(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    # the small model has learnt too little to find anything: maps of one that finds what the masks have
    np.save(stored.folder / "maps.npy", np.stack([3 * np.float32(stored.mask_of(i.place)) for i in stored.images]))
    good = stored.scores[stored.labels == 0].min()
    limits = evaluated.first / "calibration.json"  # so low that the small model rejects defects
    values = json.loads(limits.read_text())
    for version in values["versions"]:
        version |= {"image_threshold": float(good), "pixel_threshold": float(good)}
    limits.write_text(json.dumps(values))
    calibration = evaluated.info().calibration
    assert calibration is not None
    parts = draw_pictures(stored)
    assert parts == read_pictures(evaluated.first)
    by_name = {f"{image.defect_type}/{image.path.name}": image for image in stored.images}
    verdicts = [(part.truth == "good", calibration.verdict(part.score)) for part in parts]
    assert verdicts[0] == (True, "OK") and set(verdicts[1:]) == {(False, "NG")}
    for part in parts:
        image = by_name[f"{part.truth}/{part.name}"]
        assert part.score == image.verdict_score
        scores = stored.map_of(image.place)
        opacity = np.asarray(Image.open(evaluated.first / PICTURES / part.heat))[..., 3]
        assert (opacity.max() == 255) == (scores.max() > calibration.image_threshold)
        row, column = np.array(np.unravel_index(opacity.argmax(), opacity.shape)) * scores.shape[0] // opacity.shape[0]
        assert scores[row, column] >= 0.95 * min(scores.max(), calibration.image_threshold)
        assert Image.open(io.BytesIO((evaluated.first / PICTURES / part.photograph).read_bytes())).size == (64, 64)


def test_damaged_pictures_and_names_that_lead_elsewhere_are_none(evaluated: EvaluationWorld) -> None:
    draw_pictures(evaluated.stored())
    listed = evaluated.first / PICTURES / PARTS
    text = listed.read_text()
    for damaged in ("{", text.replace("1-heat.png", "../config.json"), text.replace("1-heat.png", "/etc/hostname")):
        listed.write_text(damaged)
        assert read_pictures(evaluated.first) == ()


def test_pictures_that_cannot_be_kept_do_not_fail_an_evaluation(evaluated: EvaluationWorld, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("skrd4ad.services.evaluation.pictures.write_pictures", refuse)
    assert draw_pictures(evaluated.stored())
