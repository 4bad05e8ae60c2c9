"""What is built of the checkout, installed in a clean environment in another folder, is the whole product."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from skrd4ad.cli.output import run_command
from skrd4ad.cli.studio.app import default_options
from skrd4ad.errors import EXTRAS
from tests.limits import LONG

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
Shared = Callable[[str, Callable[[Path], None]], Path]
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(shared: Shared) -> Path:
    """The program in an environment of its own, which takes the libraries of the tests' environment and no more."""

    def fill(root: Path) -> None:
        source = root / "source"
        source.mkdir()
        tracked = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        for name in filter(None, tracked.split("\0")):
            if name.split("/")[0] not in ("tests", "docs", "benchmarks", "findings") and (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, source / name)
        run(sys.executable, "-c", "from setuptools import build_meta as b; b.build_sdist('..')", cwd=source)
        with tarfile.open(next(root.glob("*.tar.gz"))) as archive:
            archive.extractall(root / "unpacked", filter="data")
        (unpacked,) = (root / "unpacked").iterdir()
        # the wheel is made of what the source distribution holds
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", root, ".", cwd=unpacked)
        venv.create(root / "env", with_pip=False)
        python = root / "env" / "bin" / "python"
        run(*pip, "--python", python, "install", "-q", "--no-deps", next(root.glob("*.whl")), cwd=root)
        (libraries,) = (root / "env").glob("lib/python*/site-packages")
        (libraries / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])

    return shared("installation", fill) / "env" / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without anything, and nothing of the tests' environment."""
    for name in ("PYTHONPATH", "SKRD4AD_HOME", "SKRD4AD_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_it_lists_the_demo_models_and_inspects_an_image_from_any_folder(installed: Path, elsewhere: Path) -> None:
    skrd4ad = installed / "skrd4ad"
    models = {each["class"]: each for each in json.loads(run(skrd4ad, "models", "--json", cwd=elsewhere))["models"]}
    assert sorted(models) == ["machined_disc", "solar_cell_mono"]
    folder = Path(models["machined_disc"]["folder"])
    assert folder.is_relative_to(installed.parent)
    assert [*elsewhere.iterdir()] == []  # looking changes nothing
    sizes = ("--train", "1", "--test-good", "1", "--per-defect", "1")
    run(skrd4ad, "demo", "parts", "--classes", "machined_disc", *sizes, cwd=elsewhere)
    defect = elsewhere / "parts" / "machined_disc" / "test" / "scratch" / "000.png"
    said = run(skrd4ad, "predict", "--model", folder, defect, "--out", "results", "--json", cwd=elsewhere)
    (image,) = json.loads(said)["images"]
    assert image["error"] is None and image["score"] > 0 and Path(elsewhere, image["files"]["overlay"]).is_file()


def test_its_app_answers_from_any_folder_with_models_of_its_own(installed: Path, elsewhere: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [installed / "skrd4ad", "app", "--json", "--port", str(port), "--", "--server.headless=true"]
    with subprocess.Popen([*map(str, command)], cwd=elsewhere, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert _answer(f"http://localhost:{port}/_stcore/health", server) == "ok"
            page = _answer(f"http://localhost:{port}/inspect", server)
        finally:
            server.send_signal(signal.SIGTERM)
            document, _ = server.communicate(timeout=LONG)
    started = json.loads(document)
    assert "<title>" in page
    assert Path(started["script"]).is_relative_to(installed.parent)
    # the settings of the checkout hold here as well
    assert {"--server.address=localhost", "--browser.gatherUsageStats=false"} <= set(started["options"])
    assert sorted(path.name for path in (elsewhere / "checkpoints").glob("*/*")) == ["machined_disc", "solar_cell_mono"]


def _answer(url: str, server: "subprocess.Popen[str]") -> str:
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        assert server.poll() is None
        try:
            with urllib.request.urlopen(url, timeout=LONG) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer")


def test_settings_of_the_users_own_files_and_variables_are_left_to_streamlit(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    ours = default_options()
    assert "--server.maxUploadSize=1024" in ours
    assert "--theme.headingFontWeights=[600, 600, 600, 600, 600, 600]" in ours
    (elsewhere / ".streamlit").mkdir()
    (elsewhere / ".streamlit" / "config.toml").write_text('[server]\naddress = "0.0.0.0"\n')
    monkeypatch.setenv("STREAMLIT_SERVER_MAX_UPLOAD_SIZE", "20")
    gone = {"--server.address=localhost", "--server.maxUploadSize=1024"}
    assert set(ours) - set(default_options()) == gone


def test_the_requirements_of_the_app_are_those_of_its_extra() -> None:
    extras = PROJECT["optional-dependencies"]

    def of(extra: str) -> set[str]:
        own = set(extras[extra])
        return {each for each in own if not each.startswith("skrd4ad[")}.union(
            *(of(each.removeprefix("skrd4ad[").removesuffix("]")) for each in own if each.startswith("skrd4ad["))
        )

    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == {*PROJECT["dependencies"]} | of("app")
    assert of("all") == of("app")


@pytest.mark.parametrize(("extra", "module"), [(extra, module) for extra, names in EXTRAS.items() for module in names])
def test_the_extra_that_a_message_names_brings_the_library(extra: str, module: str) -> None:
    declared = [re.split(r"[\[>]", each)[0].replace("-", "_") for each in PROJECT["optional-dependencies"][extra]]
    assert module in declared


def test_a_library_that_is_not_installed_is_one_line_that_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    def command() -> int:
        import torch.nn

        return len(torch.nn.__name__)

    assert run_command(command, program="skrd4ad train", as_json=False, when_interrupted="") == 1
    message = "skrd4ad train needs torch, which is not installed: `pip install 'skrd4ad[train]'`.\n"
    assert capsys.readouterr().err == message
