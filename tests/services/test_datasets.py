import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.data.sources import EMBEDDED
from skrd4ad.errors import DataError, LayoutError
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import change_metadata
from skrd4ad.services.datasets import (
    EMBEDDED_SOURCES,
    class_of,
    class_of_model,
    classes_of,
    folders_in,
    images_in,
    is_embedded,
    preflight,
)
from skrd4ad.services.models.list import default_model, list_models, predecessor_digest

OUTSIDE = "outside the folders"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one data root; its neighbours may not be read."""
    made = tmp_path / "root"
    made.mkdir()
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(made))
    return made


@pytest.fixture
def parts(root: Path, tiny_data: Path) -> Path:
    return Path(shutil.copytree(tiny_data, root / "parts"))


def copy_model(tiny_model: tuple[Path, Path], models: Path, name: str) -> Path:
    return Path(shutil.copytree(tiny_model[0], models / "parts" / "machined_disc" / name))


def test_every_embedded_data_set_is_offered() -> None:
    assert {source.source for source in EMBEDDED_SOURCES} == set(EMBEDDED)
    assert all(is_embedded(source.source) for source in EMBEDDED_SOURCES)
    assert not is_embedded("./elpv")


def test_models_come_newest_first_in_each_class(tmp_path: Path, tiny_model: tuple[Path, Path]) -> None:
    for name, year in [("a", "2024"), ("b", "2026"), ("c", "2025")]:
        config = copy_model(tiny_model, tmp_path, name) / "config.json"
        made = read_info(config.parent).created_at
        config.write_text(config.read_text(encoding="utf-8").replace(made, year + made[4:]), encoding="utf-8")
    models, broken = list_models(tmp_path)
    assert [info.folder.name for info in models] == ["b", "c", "a"]
    assert broken == []


def test_a_damaged_model_is_named_beside_the_others(tmp_path: Path, tiny_model: tuple[Path, Path]) -> None:
    copy_model(tiny_model, tmp_path, "fine")
    damaged = copy_model(tiny_model, tmp_path, "damaged")
    (damaged / "config.json").write_text("{", encoding="utf-8")
    models, broken = list_models(tmp_path)
    assert [info.folder.name for info in models] == ["fine"]
    assert [found.folder for found in broken] == [damaged]
    assert "config.json" in broken[0].reason


def test_without_a_folder_there_are_no_models(tmp_path: Path) -> None:
    assert list_models(tmp_path / "nowhere") == ([], [])


def test_classes_of_a_folder_under_the_roots(parts: Path) -> None:
    assert [data.name for data in classes_of(str(parts))] == ["machined_disc"]
    found = class_of(str(parts), layout="auto", class_name="machined_disc")
    assert len(found.train) == 12
    with pytest.raises(DataError, match=r"The class moon is not in .* there are: machined_disc"):
        class_of(str(parts), layout="auto", class_name="moon")


def test_a_folder_that_is_no_data_set_is_refused(root: Path) -> None:
    with pytest.raises(LayoutError):
        classes_of(str(root))


def test_folders_are_listed_without_hidden_ones_and_links_to_elsewhere(root: Path, tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (root / name).mkdir()
    (root / "file.png").write_bytes(b"")
    (root / "away").symlink_to(tmp_path)
    (root / "home").symlink_to(root / "a")
    assert [folder.name for folder in folders_in(root)] == ["a", "b", "home"]


def test_images_are_listed_without_links_to_elsewhere(root: Path, tmp_path: Path) -> None:
    for name in ("10.png", "2.PNG", "notes.txt"):
        (root / name).write_bytes(b"")
    (tmp_path / "secret.png").write_bytes(b"")
    (root / "1.png").symlink_to(tmp_path / "secret.png")
    assert [image.name for image in images_in(root)] == ["2.PNG", "10.png"]


@pytest.mark.parametrize("read", [classes_of, lambda path: folders_in(Path(path)), lambda path: images_in(Path(path))])
@pytest.mark.parametrize("how", ["absolute", "dots", "link"])
def test_nothing_outside_the_roots_is_read(root: Path, tmp_path: Path, tiny_data: Path, read, how: str) -> None:
    outside = Path(shutil.copytree(tiny_data, tmp_path / "outside"))
    (root / "link").symlink_to(outside)
    given = {"absolute": outside, "dots": root / ".." / "outside", "link": root / "link"}[how]
    with pytest.raises(DataError, match=OUTSIDE):
        read(str(given))


@pytest.mark.parametrize("part", ["train/good", "ground_truth/scratch", "test"])
def test_a_data_set_with_links_to_elsewhere_is_refused(parts: Path, tiny_data: Path, part: str) -> None:
    inside, outside = parts / "machined_disc" / part, tiny_data / "machined_disc" / part
    if part == "test":
        shutil.rmtree(inside)
        inside.symlink_to(outside)
    else:
        name = next(outside.iterdir()).name
        (inside / name).unlink()
        (inside / name).symlink_to(outside / name)
    with pytest.raises(DataError, match="leads outside the folders this app may read"):
        classes_of(str(parts))


def test_the_class_of_a_model_is_found_where_it_was_trained(
    parts: Path, tiny_model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = read_info(tiny_model[0])
    with pytest.raises(DataError, match=OUTSIDE):
        class_of_model(info)
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tiny_model[1]))
    assert class_of_model(info).name == "machined_disc"


def test_an_imported_model_has_no_class(tiny_model: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="imported"):
        class_of_model(replace(read_info(tiny_model[0]), data={}))


def test_the_preflight_tells_of_unreadable_images(parts: Path) -> None:
    assert preflight(classes_of(str(parts)), image_size=64).ok
    for image in (parts / "machined_disc" / "train" / "good").iterdir():
        image.write_bytes(b"no image")
    assert not preflight(classes_of(str(parts)), image_size=64).ok


def test_a_model_that_went_on_from_another_waits_to_be_used(tiny_model: tuple[Path, Path], tmp_path: Path) -> None:
    def copy(name: str, *, digest: str, parent: str | None = None) -> ModelInfo:
        folder = Path(shutil.copytree(tiny_model[0], tmp_path / "parts" / "machined_disc" / name))
        info = replace(read_info(folder), digest=digest)
        return info if parent is None else replace(info, data={**info.data, "started_from": {"digest": parent}})

    old, new, newest = copy("old", digest="o"), copy("new", digest="n", parent="o"), copy("3", digest="3", parent="n")
    assert predecessor_digest(old) is None and predecessor_digest(new) == "o"
    assert default_model([newest, new, old]) == old
    change_metadata(new.folder, adopted=True)
    assert default_model([newest, new, old]) == new
    assert default_model([newest]) == newest, "what it went on from is gone: nothing is left to decide"
    assert default_model([]) is None
