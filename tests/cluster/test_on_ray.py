"""Scoring and training on a real cluster, whose processes are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from skrd4ad.cluster.connection import Cluster, connected
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.errors import ClusterError, ConfigError, DataError, TrainingCancelled
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import Actor, acting_as
from skrd4ad.services.improve.retrain import TRAINING
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.training import TrainingRequest
from skrd4ad.task import QUIET, Status, Task
from tests.cluster import work
from tests.cluster.rows import rows_of
from tests.limits import LONG
from tests.test_architecture import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_address")]
Run = Callable[..., tuple[int, Any]]


@pytest.fixture(autouse=True)
def by_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of the cluster have no fixtures: they take the graph that the model carries."""
    monkeypatch.delenv("SKRD4AD_RUNTIME")


@pytest.fixture
def joined(ray_address: str) -> Iterator[Cluster]:
    from skrd4ad.cluster.tasks import shared_environment

    with connected(ray_address, threads=1, environment=shared_environment()) as cluster:
        yield cluster


def when(condition: Callable[[], Any], act: Callable[[Any], None]) -> threading.Thread:
    """A thread that acts on what the condition gives, once it gives something."""

    def watch() -> None:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            if found := condition():
                act(found)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def scorer() -> int | None:
    """A process of the cluster that scores."""
    for process in psutil.process_iter(["cmdline"]):
        if "ray::MapWorker" in "".join(process.info["cmdline"] or ()):
            return int(process.pid)
    return None


def test_rows_are_the_same_when_a_worker_and_then_the_driver_are_killed(
    with_graph: ModelInfo, images: Path, ray_address: str, tmp_path: Path, as_json: Run
) -> None:
    given = [str(each) for each in ("score", images, "--model", with_graph.folder, "--part", 2)]
    assert as_json(*given, "--out", tmp_path / "here")[0] == 1
    expected, out = rows_of(tmp_path / "here"), tmp_path / "there"
    command = [*given, "--out", str(out), "--cluster", ray_address, "--threads", "2"]  # one worker

    def finished() -> list[Path]:
        return sorted((out / "scores").glob("part-*"))

    killed = when(finished, lambda _: (pid := scorer()) and os.kill(pid, signal.SIGKILL))
    driver = subprocess.Popen(
        [sys.executable, "-m", "skrd4ad", *command], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path
    )
    when(lambda: len(finished()) > 1, lambda _: driver.kill()).join(LONG)
    assert driver.wait(LONG) == -signal.SIGKILL
    killed.join(LONG)
    kept = {file: file.stat().st_mtime_ns for file in finished()}
    assert 2 <= len(kept) < len(expected) / 2, "the driver was killed too late, or before anything was done"

    code, document = as_json(*command)
    assert code == 1 and document["images"] == len(expected) and 0 < document["scored"] <= len(expected) - 4
    assert rows_of(out) == expected
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_work_is_done_again_when_its_process_is_killed(ray_address: str, capfd: pytest.CaptureFixture[str]) -> None:
    from skrd4ad.cluster.tasks import on_cluster, shared_environment

    with connected(ray_address, threads=1, environment=shared_environment()) as cluster:
        assert on_cluster(work.lost_once, cluster=cluster, threads=1, accelerators=0, task=QUIET) is True
    assert capfd.readouterr().out == ""  # Ray tells of the death, and results alone belong there


def test_work_says_how_far_it_is(joined: Cluster, home: Path) -> None:
    from skrd4ad.cluster.tasks import on_cluster

    shown: list[Status] = []
    points: list[Any] = []
    task = Task(show=shown.append, point=lambda step, values: points.append((step, dict(values))))
    with acting_as(Actor("Ada", "engineer")):
        found = on_cluster(work.told, "halfway", cluster=joined, threads=1, accelerators=0, task=task)
    assert found["pid"] != os.getpid()
    assert {name: found[name] for name in ("who", "again", "workspace")} == {
        "who": "Ada",
        "again": False,
        "workspace": home,
    }
    assert points == [(1, {"loss": 0.5})] and (shown[-1].text, shown[-1].share) == ("halfway", 0.5)
    with pytest.raises(DataError, match=r"^what was given, what is allowed, what to do$"):
        on_cluster(work.wrong, cluster=joined, threads=1, accelerators=0, task=QUIET)
    with pytest.raises(ConfigError, match="needs 5 CPUs of one machine, and the largest of the cluster has 4"):
        on_cluster(work.told, "x", cluster=joined, threads=5, accelerators=0, task=QUIET)


def test_work_is_cancelled_and_needs_the_same_workspace(
    joined: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skrd4ad.cluster.tasks import on_cluster

    file = tmp_path / "state"

    def check() -> None:
        if file.exists():
            raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        on_cluster(work.endless, file, cluster=joined, threads=1, accelerators=0, task=Task(check=check))
    assert file.read_text() == "TrainingCancelled"
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", "sqlite:////elsewhere/database.db")
    with pytest.raises(ClusterError, match=r"another workspace .* SKRD4AD_DATABASE_URL"):
        on_cluster(work.told, "x", cluster=joined, threads=1, accelerators=0, task=QUIET)


def test_a_class_is_trained_there_and_shows_in_the_queue(
    tiny_data: Path, ray_address: str, tmp_path: Path, as_json: Run
) -> None:
    options = [
        "--data",
        tiny_data,
        "--class",
        "all",
        "--epochs",
        1,
        "--image-size",
        64,
        "--no-evaluate",
        "--skip-doctor",
    ]
    code, document = as_json("train", *options, "--cluster", ray_address)
    assert code == 0 and {model["class"] for model in document["models"]} == {"machined_disc"}
    folder = Path(document["models"][0]["folder"])
    assert folder.is_relative_to(tmp_path / "models") and (folder / "model.safetensors").is_file()
    job = TRAINING.latest()
    assert job is not None and (job.state, job.lane) == ("done", "cluster")
    assert job.result["folder"] == str(folder)
    assert [point["step"] for point in queue().points(job.id)] == [1]


def test_the_app_sends_its_trainings_there(tiny_data: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_RAY_ADDRESS", ray_address)
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tiny_data.parent))
    request = TrainingRequest(
        source=str(tiny_data),
        class_name="machined_disc",
        model=ModelConfig(net="efficientnet_lite0", image_size=64),
        train=TrainConfig(epochs=1, batch_size=4),
        evaluate=False,
    )
    job = queue().wait(TRAINING.submit(request), LONG)
    assert job.state == "done", job.error
    assert job.result is not None and (Path(job.result["folder"]) / "model.safetensors").is_file()
    assert [point["step"] for point in queue().points(job.id)] == [1]
