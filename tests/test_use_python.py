"""The example of the Python interface in docs/ runs as it stands."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from skrd4ad.model_folder.folder import find_models, read_info

EXAMPLE = Path(__file__).parents[1] / "docs" / "use_python.py"


def test_it_trains_measures_and_looks_at_a_part(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tiny_data / "machined_disc" / "test" / "scratch" / "000.png"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tiny_data), "machined_disc", str(part), "1"])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    (folder,) = find_models(tmp_path / "models")
    assert read_info(folder).train is not None
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"model folder {folder}"
    assert re.fullmatch(r"image AUROC [01]\.\d{3} on 4 good and \d+ defective test images", second)
    assert re.fullmatch(r"score \d+\.\d{3}, limit \d+\.\d{3}, (OK|REVIEW|NG|CANNOT JUDGE), \d+ regions", third)
    assert (tmp_path / "results" / "000_overlay.png").is_file()


def test_the_readme_shows_it_as_it_is() -> None:
    code = EXAMPLE.read_text(encoding="utf-8").split('"""\n\n', 1)[1]
    readme = (EXAMPLE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in readme
