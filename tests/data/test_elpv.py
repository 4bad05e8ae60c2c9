"""The embedded solar cells: their classes, their split, and what happens when the package is not whole."""

import sys

import pytest

from skrd4ad.data.elpv import elpv_classes, split_of_good
from skrd4ad.errors import DataError

LABELS = """\
images/cell0001.png  1.0                 mono
images/cell0002.png  0.0                 mono

images/cell0003.png  0.3333333333333333  mono
images/cell0004.png  0.0                 poly
images/cell0005.png  0.6666666666666666  poly
images/cell0006.png  1.0                 poly
"""


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    package = tmp_path / "elpv_dataset"
    images = package / "data" / "images"
    images.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    for number in range(1, 7):
        (images / f"cell{number:04d}.png").touch()
    labels = package / "data" / "labels.csv"
    labels.write_text(LABELS)
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return labels


def test_package_gives_the_published_counts():
    mono, poly = elpv_classes()
    assert (mono.name, poly.name) == ("solar_cell_mono", "solar_cell_poly")
    for cls, good, defect in ((mono, 588, 313), (poly, 920, 402)):
        assert sum(s.label == 0 for s in cls.samples) == good
        assert sum(s.label == 1 for s in cls.samples) == defect
        assert len(cls.train) / good == pytest.approx(0.75, abs=0.05)
        assert len({s.path for s in cls.samples}) == good + defect
        assert all(s.path.is_file() for s in cls.samples)
        assert cls.dataset == cls.layout == "elpv"
        assert cls.licence == "CC BY-NC-SA 4.0"
        assert cls.defect_types == ("defective",)
        assert not cls.has_masks


def test_agreed_cells_only(fake_package):
    mono, poly = elpv_classes()
    assert [(s.path.name, s.label, s.defect_type) for s in mono.samples] == [
        ("cell0001.png", 1, "defective"),
        ("cell0002.png", 0, "good"),
    ]
    assert [(s.path.name, s.label) for s in poly.samples] == [("cell0004.png", 0), ("cell0006.png", 1)]


def test_defects_are_all_test():
    assert {s.split for cls in elpv_classes() for s in cls.samples if s.label == 1} == {"test"}


def test_split_depends_on_the_file_name_alone(fake_package):
    before = {s.path.name: s.split for cls in elpv_classes() for s in cls.samples}
    fake_package.write_text("\n".join(reversed(LABELS.splitlines())))
    assert {s.path.name: s.split for cls in elpv_classes() for s in cls.samples} == before


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("cell0001.png", "train"),
        ("cell0002.png", "test"),
        ("cell0003.png", "train"),
        ("cell0004.png", "train"),
        ("cell0005.png", "train"),
        ("cell0006.png", "test"),
        ("cell0007.png", "train"),
    ],
)
def test_split_never_changes(name, split):
    assert split_of_good(name) == split


def test_missing_package_names_the_pip_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DataError, match="pip install elpv-dataset"):
        elpv_classes()


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        ("images/cell0001.png 1.0", "Line 1 of"),
        ("images/cell0001.png high mono", "Line 1 of"),
        ("images/cell0001.png 1.5 mono", "from 0 to 1"),
        ("images/cell0001.png nan mono", "from 0 to 1"),
        ("images/cell0001.png 1.0 thin", "mono or poly"),
        ("images/cell9999.png 1.0 mono", "an image of the package"),
        ("images/cell0001.png 1.0 mono", "no poly cells"),
        ("", "no mono and no poly cells"),
    ],
)
def test_damaged_labels_are_reported(fake_package, damaged, complaint):
    fake_package.write_text(damaged)
    with pytest.raises(DataError, match=complaint) as caught:
        elpv_classes()
    assert "pip install --force-reinstall elpv-dataset" in str(caught.value)


def test_unreadable_labels_are_reported(fake_package):
    fake_package.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        elpv_classes()
    fake_package.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        elpv_classes()
