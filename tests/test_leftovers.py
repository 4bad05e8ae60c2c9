"""What killed writers leave behind is swept; what living ones write is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from skrd4ad import files
from skrd4ad.errors import DataError
from skrd4ad.files import SWEEP_ELSEWHERE_SECONDS, SWEEP_SECONDS, new_file, new_folder, sweep, temporary_name
from skrd4ad.inference.predict import Predictor
from skrd4ad.paths import checkpoints, workspace
from skrd4ad.services.inspection.inspect import inspect_images, write_outputs
from skrd4ad.services.leftovers import sweep_leftovers
from tests.limits import LONG

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from skrd4ad.files import new_file, new_folder, remove_folder

root = Path(sys.argv[1])
with new_folder(root / "model") as folder, new_file(root / "bundle.zip") as file:
    (folder / "weights").write_bytes(b"half")
    file.write_bytes(b"half")
    shutil.rmtree = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    remove_folder(root / "old")
"""


def age(path: Path, seconds: float) -> None:
    """Let a path look as old as this."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def hidden(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.name.startswith("."))


def test_what_a_killed_process_was_writing_is_swept_once_it_is_old(home: Path, tmp_path: Path) -> None:
    root = checkpoints()
    (root / "old").mkdir(parents=True)
    killed = subprocess.run([sys.executable, "-c", KILLED, root], timeout=LONG, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = hidden(root)
    assert len(left) == 3 and not (root / "old").exists()
    assert sweep(root) == []  # it may be that of a process whose number this system does not show
    for path in left:
        age(path, SWEEP_SECONDS + 1)
    (workspace() / "uploads").mkdir()
    (workspace() / "uploads" / ".hidden.png").touch()
    age(workspace() / "uploads" / ".hidden.png", 10 * SWEEP_ELSEWHERE_SECONDS)
    assert sweep_leftovers() == 3
    assert [*root.iterdir()] == []
    assert (workspace() / "uploads" / ".hidden.png").exists()


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with new_folder(tmp_path / "model") as folder, new_file(tmp_path / "file") as file:
        file.touch()
        for path in (folder, file):
            age(path, 10 * SWEEP_ELSEWHERE_SECONDS)
        assert sweep(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"model", "file"}


def test_what_another_machine_writes_is_left_alone_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_HOST", "0123ab")
        path = temporary_name(tmp_path / "file")
    path.touch()
    age(path, SWEEP_ELSEWHERE_SECONDS - 60)
    assert sweep(tmp_path) == []
    age(path, SWEEP_ELSEWHERE_SECONDS + 60)
    assert sweep(tmp_path) == [path]


def test_a_disk_that_fills_up_leaves_no_truncated_result(
    loaded: Predictor, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tiny_data / "machined_disc" / "test" / "good" / "000.png"
    (inspection,) = inspect_images(loaded, [("a", image)])
    files_of = write_outputs(inspection, tmp_path / "out", name="a")
    before = {path.name: path.read_bytes() for path in files_of.values()}
    assert np.load(files_of["map"]).dtype == np.float32

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"map\.npy cannot be written: No space left on device"):
        write_outputs(inspection, tmp_path / "out", name="a")
    with pytest.raises(DataError):
        write_outputs(inspection, tmp_path / "out", name="b")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
