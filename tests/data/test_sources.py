import pytest

from skrd4ad.data import sources
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import DataError, LayoutError
from skrd4ad.types import DatasetClass


@pytest.fixture
def fake_elpv(monkeypatch, tmp_path):
    classes = [DatasetClass(dataset="elpv", name=n, root=tmp_path, layout="elpv", samples=()) for n in ("mono", "poly")]
    monkeypatch.setitem(sources.EMBEDDED, "elpv", lambda: classes)
    return classes


def test_embedded_names_open_embedded_data(fake_elpv):
    assert open_dataset("elpv") == open_dataset("elpv", class_name="all") == fake_elpv
    assert open_dataset("elpv", class_name="poly") == fake_elpv[1:]


def test_a_folder_of_an_embedded_name_opens_as_a_path(fake_elpv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LayoutError, match="There is no folder"):
        open_dataset("./elpv")


def test_folder_opens_by_text_and_by_path(mvtec):
    assert open_dataset(str(mvtec)) == open_dataset(mvtec, layout="mvtec")


def test_unknown_class_lists_those_there_are(visa):
    with pytest.raises(DataError, match=r"'capsules'.*candle, pcb1"):
        open_dataset(visa, class_name="capsules")


def test_no_name_lists_the_embedded_sets():
    with pytest.raises(DataError, match="elpv, synthetic"):
        open_dataset(" ")
