import os
from pathlib import Path

import pytest

from skrd4ad.errors import DataError
from skrd4ad.paths import checkpoints, data_roots, inside_data_roots, workspace


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only data root; ``tmp_path`` around it is outside."""
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(root))
    return root


def test_the_workspace_is_made_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "a" / "b"))
    assert workspace() == (tmp_path / "a" / "b").resolve()
    assert workspace().is_dir()


def test_workspace_and_checkpoints_are_beside_the_user_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("SKRD4AD_HOME", "SKRD4AD_CHECKPOINTS"):
        monkeypatch.setenv(variable, "")  # empty counts as not set
    assert workspace() == tmp_path.resolve() / "workspace"
    assert checkpoints() == tmp_path.resolve() / "checkpoints"
    assert not checkpoints().exists()


def test_model_folders_are_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", str(tmp_path / "models"))
    assert checkpoints() == tmp_path.resolve() / "models"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", "~/models")
    assert checkpoints() == tmp_path.resolve() / "models"


def test_roots_are_the_workspace_and_home_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKRD4AD_DATA_ROOTS", raising=False)
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "workspace"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_roots() == [tmp_path.resolve() / "workspace", tmp_path.resolve() / "home"]


def test_several_roots_are_separated_as_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")]))
    assert data_roots() == [tmp_path.resolve() / "a", tmp_path.resolve() / "b"]


def test_an_empty_list_of_roots_allows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", "")
    with pytest.raises(DataError):
        inside_data_roots(tmp_path)


@pytest.mark.parametrize("below", [".", "data", "data/not_there", "data/../data"])
def test_what_lies_below_a_root_is_allowed(root: Path, below: str) -> None:
    assert inside_data_roots(root / below) == (root / below).resolve()


@pytest.mark.parametrize("outside", ["..", "../sibling", "data/../../sibling", "../root_but_longer"])
def test_what_lies_elsewhere_is_refused_with_the_remedy(root: Path, outside: str) -> None:
    with pytest.raises(DataError, match="SKRD4AD_DATA_ROOTS") as caught:
        inside_data_roots(root / outside)
    assert str(root.resolve()) in str(caught.value)


def test_a_link_that_leads_out_of_a_root_is_refused(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (root / "link").symlink_to(secret)
    for path in (root / "link", root / "link" / "file.png"):
        with pytest.raises(DataError, match="outside"):
            inside_data_roots(path)


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "data")
    assert inside_data_roots(root / "link") == (root / "data").resolve()


def test_a_root_that_is_a_link_allows_what_it_leads_to(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path / "link"))
    assert inside_data_roots(root / "data") == (root / "data").resolve()


def test_the_refusal_does_not_tell_whether_the_path_exists(root: Path, tmp_path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(DataError) as caught:
            inside_data_roots(tmp_path / "there")
        return str(caught.value)

    without = refusal()
    (tmp_path / "there").mkdir()
    assert refusal() == without


def test_the_refusal_does_not_tell_where_a_link_leads(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path / "hidden_name")
    with pytest.raises(DataError) as caught:
        inside_data_roots(root / "link")
    assert "hidden_name" not in str(caught.value)
