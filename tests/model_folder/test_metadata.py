from pathlib import Path

import pytest

from skrd4ad.errors import CheckpointError, ConfigError
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import ABOUT, ModelMetadata, change_metadata, read_metadata, title_of
from skrd4ad.model_folder.network import load_model


def test_what_is_said_is_kept_and_changes_nothing_of_the_model(trained: ModelInfo) -> None:
    before = read_info(trained.folder)
    assert read_metadata(trained.folder) == ModelMetadata()
    change_metadata(trained.folder, name="  Station 4 ", note="after the new lamp\n")
    change_metadata(trained.folder, archived=True)
    assert read_metadata(trained.folder) == ModelMetadata(name="Station 4", note="after the new lamp", archived=True)
    assert change_metadata(trained.folder, name="", archived=False) == ModelMetadata(note="after the new lamp")
    assert change_metadata(trained.folder, adopted=True) == ModelMetadata(note="after the new lamp", adopted=True)
    assert read_info(trained.folder) == before
    load_model(trained.folder)


def test_the_title_is_the_name_or_what_the_model_is(trained: ModelInfo) -> None:
    assert title_of(trained, ModelMetadata(name="Station 4")) == "Station 4"
    assert title_of(trained, ModelMetadata()) == trained.title


@pytest.mark.parametrize(("name", "note"), [("x" * 81, ""), ("two\nlines", ""), ("", "x" * 4001)])
def test_what_is_too_long_is_refused(trained: ModelInfo, name: str, note: str) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        change_metadata(trained.folder, name=name, note=note)
    assert not (trained.folder / ABOUT).exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "archived": "no"}',
        '{"format": 1, "adopted": 1}',
        '{"format": 1, "x": 1}',
    ],
)
def test_a_damaged_file_is_named(trained: ModelInfo, text: str) -> None:
    (trained.folder / ABOUT).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"about\.json"):
        read_metadata(trained.folder)


def test_only_a_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no model folder"):
        change_metadata(tmp_path, name="x")
