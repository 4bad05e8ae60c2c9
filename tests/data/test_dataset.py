import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad.data.dataset import decoding_pool, iter_images, load_images, load_masks, vanished_regions
from skrd4ad.data.images.read import read_image, resize_image, resize_mask
from skrd4ad.errors import ImageError
from skrd4ad.task import Task
from skrd4ad.types import Sample


def good(path: Path) -> Sample:
    return Sample(path=path, split="test", label=0, defect_type="good")


def defect(path: Path, mask: Path | None) -> Sample:
    return Sample(path=path, split="test", label=1, defect_type="dent", mask_path=mask)


@pytest.fixture
def samples(write_picture) -> list[Sample]:
    return [good(write_picture(f"{n}.png", size=(10 + n, 30 - n))) for n in range(13)]


def test_images_come_in_the_order_of_the_samples(samples):
    images = load_images(samples, 16)
    assert images.dtype == np.uint8 and images.shape == (13, 16, 16, 3)
    for image, sample in zip(images, samples, strict=True):
        assert np.array_equal(image, resize_image(read_image(sample.path), 16))


def test_progress_counts_up_in_the_callers_thread(samples):
    seen = []
    load_images(samples, 8, task=Task(show=lambda at: seen.append((at.done, at.total, threading.get_ident()))))
    assert seen == [(n, 13, threading.get_ident()) for n in range(1, 14)]


def test_progress_that_raises_stops_the_loading(samples, monkeypatch):
    started = []
    blank = np.zeros((4, 4, 3), np.uint8)
    monkeypatch.setattr("skrd4ad.data.dataset.read_image", lambda p, levels: started.append(p) or blank)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(samples * 400, 8, task=Task(check=stop))
    assert len(started) < len(samples) * 400


def test_first_unreadable_file_in_order_is_named(samples):
    for place in (9, 4):
        samples[place].path.write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"/4\.png"):
        load_images(samples, 8)


def test_no_samples_give_empty_arrays():
    assert load_images([], 8).shape == (0, 8, 8, 3)
    assert load_masks([], 8).masks.shape == (0, 8, 8)
    assert list(iter_images([], 8, batch=4)) == []


@pytest.mark.parametrize("batch", [1, 4, 13, 50])
def test_batches_together_are_the_whole(samples, batch):
    whole = load_images(samples, 8)
    parts = list(iter_images(samples, 8, batch=batch))
    assert [n for places, _ in parts for n in places] == list(range(13))
    assert all(len(part) == len(places) <= batch for places, part in parts)
    assert np.array_equal(np.concatenate([part for _, part in parts]), whole)


def test_masks_know_what_is_labelled(write_picture, write_mask):
    image = write_picture("a.png", size=(40, 40))
    mask = write_mask("a_mask.png", size=(40, 40), side=20)
    loaded = load_masks([good(image), defect(image, mask), defect(image, None)], 10)
    assert loaded.has_mask.tolist() == [True, True, False]
    assert loaded.masks.sum(axis=(1, 2)).tolist() == [0, loaded.masks[1].sum(), 0]
    assert 20 <= loaded.masks[1].sum() <= 30
    assert loaded.vanished == () and loaded.vanished_regions == 0


def test_mask_that_vanishes_at_the_size_is_named(write_picture, write_mask):
    image = write_picture("a.png", size=(100, 100))
    tiny = write_mask("tiny.png", size=(100, 100), side=2)
    large = write_mask("large.png", size=(100, 100), side=50)
    loaded = load_masks([defect(image, large), defect(image.with_name("b.png"), tiny)], 10)
    assert loaded.vanished == (image.with_name("b.png"),)
    assert loaded.vanished_regions == 1
    assert load_masks([defect(image, tiny)], 100).vanished == ()


def test_region_that_vanishes_beside_one_that_stays_is_counted():
    mask = np.zeros((100, 60), bool)
    mask[10:50, 5:30] = True
    mask[80, 50] = True
    mask[95, 10] = True
    small = resize_mask(mask, 10)
    assert small.any() and vanished_regions(mask, small) == 2
    assert vanished_regions(mask, mask) == 0
    assert vanished_regions(np.zeros((5, 5), bool), np.zeros((3, 3), bool)) == 0


def test_region_that_stays_within_one_row_of_cells_is_not_counted():
    mask = np.zeros((100, 100), bool)
    mask[21:29, 20:80] = True
    small = resize_mask(mask, 10)
    assert small.any() and vanished_regions(mask, small) == 0


def test_pool_starts_nothing_more_after_an_error():
    started = []
    release = threading.Event()

    def work() -> None:
        started.append(1)
        release.wait(0.02)

    with pytest.raises(KeyboardInterrupt), decoding_pool() as pool:
        for _ in range(200):
            pool.submit(work)
        raise KeyboardInterrupt
    assert len(started) < 200


def test_unreadable_mask_is_named(write_picture, tmp_path):
    broken = tmp_path / "broken_mask.png"
    broken.write_bytes(b"no")
    with pytest.raises(ImageError, match=r"broken_mask\.png"):
        load_masks([defect(write_picture("a.png"), broken)], 8)


def test_grey_and_colour_mix(tmp_path):
    Image.new("L", (5, 5), 90).save(tmp_path / "grey.png")
    Image.new("RGB", (5, 5), (90, 90, 90)).save(tmp_path / "colour.bmp")
    images = load_images([good(tmp_path / "grey.png"), good(tmp_path / "colour.bmp")], 4)
    assert np.unique(images).tolist() == [90]
