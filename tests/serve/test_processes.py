"""The processes of ``skrd4ad serve``, without torch: a worker that is killed, and the end by SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from skrd4ad.cli import main
from skrd4ad.model_folder.info import ModelInfo
from tests.limits import LONG
from tests.test_without_torch import BLOCKER, ROOT

pytestmark = pytest.mark.slow


@contextmanager
def service(info: ModelInfo, folder: Path, *options: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A real service of a model, and its address."""
    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text(BLOCKER)
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'path'}{os.pathsep}{ROOT}"}
    given = [*map(str, options), "--port", "0", "--json"]
    command = [sys.executable, "-m", "skrd4ad", "serve", "--model", str(info.folder), *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads("".join([*iter(process.stdout.readline, "}\n"), "}"]))["url"]
        finally:
            process.terminate()


def post(url: str, image: Path) -> Any:
    """The verdict; what was refused at the door, or cut off with its worker, is sent again."""
    until = time.monotonic() + LONG
    request = urllib.request.Request(
        f"{url}/v1/inspect?name={image}", image.read_bytes(), {"Content-Type": "image/png"}
    )
    while True:
        try:
            with urllib.request.urlopen(request, timeout=LONG) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_killed_worker_loses_nothing_and_the_end_waits_for_what_is_under_way(
    with_graph: ModelInfo,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SKRD4AD_RUNTIME")
    images = sorted((tiny_data / "machined_disc" / "test").rglob("*.png"))
    with (
        service(with_graph, tmp_path, "--workers", 2) as (process, url),
        ThreadPoolExecutor(4) as pool,
        ExitStack() as stack,
    ):
        first = post(url, images[0])  # a worker is up
        workers = workers_of(process)
        answers = [pool.submit(post, url, image) for image in images * 4]
        answers[len(images)].result(LONG)
        workers[0].kill()
        found = [each.result(LONG)["images"][0] for each in answers]
        wait_until(lambda: len(alive := workers_of(process)) == 2 and workers[0] not in alive)
        # an image is half sent when the service is to end: nothing more is accepted, and this is answered
        wait_until(lambda: all(map(listens, workers_of(process))))
        line = stack.enter_context(closing(HTTPConnection(url.removeprefix("http://"), timeout=LONG)))
        line.putrequest("POST", "/v1/inspect")
        content = images[0].read_bytes()
        line.putheader("Content-Type", "image/png")
        line.putheader("Content-Length", str(len(content)))
        line.endheaders(content[:1000])
        wait_until(lambda: "skrd4ad_inspections_in_progress 1.0" in figures(url))
        workers = workers_of(process)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not any(map(listens, workers)))
        line.send(content[1000:])
        said = json.load(line.getresponse())
        assert [each["score"] for each in said.get("images", ())] == [first["images"][0]["score"]], said
        assert process.wait(LONG) == 0
    look = ["predict", *images, "--model", with_graph.folder, "--out", tmp_path / "out"]
    main([*map(str, look), "--json"])
    expected = [{**each, "files": {}} for each in json.loads(capsys.readouterr().out)["images"]]
    assert found == expected * 4 and first["runtime"] == "openvino fp32"


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def figures(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=LONG) as answer:
        return str(answer.read().decode())


def listens(worker: psutil.Process) -> bool:
    try:
        return any(each.status == psutil.CONN_LISTEN for each in worker.net_connections())
    except psutil.NoSuchProcess:
        return False


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes that answer; multiprocessing has one more that tracks resources."""
    found = []
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("spawn_main" in part for part in child.cmdline()):
                found.append(child)
    return found
