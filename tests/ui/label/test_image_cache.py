import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ImageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.storage.database import workspace_database
from skrd4ad.ui.components.gallery import thumbnail
from skrd4ad.ui.label.image_cache import BoundedCache, ImageCache
from tests.label_world import picture, put
from tests.limits import LONG


class Broken(BaseException):
    """As Streamlit breaks a run off."""


def count(made: list[str], name: str) -> str:
    made.append(name)
    return name


def test_a_result_is_made_once_and_the_oldest_goes_first() -> None:
    kept: BoundedCache[str] = BoundedCache(2)
    made: list[str] = []
    for name in ("a", "b", "a", "c", "a", "b"):
        assert kept.get(name, lambda name=name: count(made, name)) == name
    assert made == ["a", "b", "c", "b"]
    assert kept.ready("b") == "b" and kept.ready("c") is None


def test_all_who_want_a_result_wait_for_the_one_who_makes_it() -> None:
    kept: BoundedCache[str] = BoundedCache(2)
    made: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def slowly() -> str:
        begun.set()
        assert go.wait(LONG)
        return count(made, "a")

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(kept.get, "a", slowly)
        assert begun.wait(LONG) and kept.ready("a") is None
        others = [pool.submit(kept.get, "a", lambda: count(made, "again")) for _ in range(2)]
        go.set()
        assert [each.result(30) for each in (first, *others)] == ["a"] * 3
    assert made == ["a"]


def test_what_went_wrong_is_told_and_tried_again() -> None:
    kept: BoundedCache[str] = BoundedCache(2)

    def fails() -> str:
        raise ImageError("torn")

    def breaks() -> str:
        raise Broken

    with pytest.raises(ImageError, match="torn"):
        kept.get("a", fails)
    with pytest.raises(Broken):
        kept.get("a", breaks)
    assert kept.ready("a") is None and kept.get("a", lambda: "whole") == "whole"


def test_who_waits_for_a_run_that_is_broken_off_makes_the_result() -> None:
    kept: BoundedCache[str] = BoundedCache(2)
    begun, go = threading.Event(), threading.Event()

    def breaks() -> str:
        begun.set()
        assert go.wait(LONG)
        raise Broken

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "a", breaks)
        assert begun.wait(LONG)
        second = pool.submit(kept.get, "a", lambda: "mine")
        go.set()
        assert second.result(30) == "mine"
        with pytest.raises(Broken):
            first.result(30)


@pytest.fixture
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    yield tmp_path
    workspace_database().close()


def test_pictures_and_thumbnails_are_those_of_the_files(home: Path) -> None:
    item, gone = put("a.png", picture(1)), put("b.png", picture(2))
    expected = read_image(home / item.file)
    kept = ImageCache()
    np.testing.assert_array_equal(kept.picture(item).image, expected)
    (home / item.file).unlink()
    np.testing.assert_array_equal(kept.picture(item).image, expected)
    (home / gone.file).unlink()
    with pytest.raises(ImageError, match="not at"):
        kept.picture(gone)
    assert kept.thumbnails([item, gone]) == [thumbnail(expected), b""]


def test_a_map_is_that_of_the_inspection_and_the_model_is_loaded_for_the_first_alone(
    home: Path, info: ModelInfo, tiny_data: Path
) -> None:
    first, second = (
        put(path.name, path.read_bytes()) for path in sorted((tiny_data / "machined_disc/test/good").iterdir())[:2]
    )
    predictor, limits, loaded = Predictor.load(info.folder), limits_of(info), []
    assert limits is not None

    def load() -> Predictor:
        loaded.append(1)
        return predictor

    kept = ImageCache()
    found = kept.start_map(first, info, limits, load)
    np.testing.assert_array_equal(found.values, predictor.predict(read_image(home / first.file)).anomaly_map)
    assert found.threshold == limits.pixel
    assert kept.start_map(first, info, limits, load) is found and loaded == [1]
    kept.read_ahead([second], info, limits)
    for future in list(kept._asked.values()):
        future.result(60)
    (home / second.file).unlink()
    ahead = kept.start_map(second, info, limits, load)
    assert ahead.values.shape == found.values.shape and loaded == [1]
    assert hashlib.sha256(ahead.values.tobytes()).digest() != hashlib.sha256(found.values.tobytes()).digest()
