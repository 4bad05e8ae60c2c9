"""The notebook in docs/ runs as it stands, and is kept without results."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.limits import LONG

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_steps.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries that start the kernel
def test_it_runs_and_shows_a_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    NotebookClient(notebook, timeout=int(LONG), resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("image/png" in data and ": NG, score" in data["text/plain"] for data in shown)
    printed = "".join(o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream")
    assert "image AUROC" in printed and (tmp_path / "results" / "001_overlay.png").is_file()
