from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.errors import ImageError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.labelling.review import keep_upload, send_to_review, waiting_images
from skrd4ad.storage.labelled_images import PredictionRow


def request(name: str, source: Path | bytes, score: float = 0.9) -> tuple[str, Path | bytes, PredictionRow]:
    return name, source, PredictionRow(score, "NG", 0.6, 1)


def test_images_wait_in_the_order_they_were_sent_and_their_content_is_kept(
    info: ModelInfo, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "b.PNG").write_bytes(b"second")
    assert send_to_review(info, [request("a.png", b"first"), request("b.PNG", tmp_path / "b.PNG")]) == 2
    (tmp_path / "b.PNG").unlink()

    found = waiting_images()
    assert [(image.name, (home / image.file).read_bytes(), said.verdict) for image, said in found] == [
        ("a.png", b"first", "NG"),
        ("b.PNG", b"second", "NG"),
    ]
    assert all(image.file.startswith("uploads/") for image, _ in found)
    assert {said.model_folder for _, said in found} == {str(info.folder)}


def test_sending_again_brings_the_score_up_to_date_and_keeps_the_place(info: ModelInfo) -> None:
    send_to_review(info, [request("a.png", b"first", score=0.7), request("b.png", b"second")])
    assert send_to_review(info, [request("renamed.png", b"first", score=0.8)]) == 0
    assert [(image.name, said.score) for image, said in waiting_images()] == [("renamed.png", 0.8), ("b.png", 0.9)]


def test_the_same_image_seen_by_another_model_waits_beside_it(info: ModelInfo) -> None:
    other = replace(info, digest="0" * 64)
    assert send_to_review(info, [request("a.png", b"first")]) == 1
    assert send_to_review(other, [request("a.png", b"first")]) == 1
    assert len(waiting_images()) == 2


def test_an_image_that_is_gone_is_an_error_and_those_before_it_wait(info: ModelInfo, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png cannot be read any more"):
        send_to_review(info, [request("a.png", b"first"), request("gone.png", tmp_path / "gone.png")])
    assert [image.name for image, _ in waiting_images()] == ["a.png"]


def test_the_same_upload_is_kept_once(home: Path) -> None:
    assert keep_upload(b"content", name="a.PNG") == keep_upload(b"content", name="b.png")
    assert len(list((home / "uploads").iterdir())) == 1
