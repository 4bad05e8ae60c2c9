"""Every command ends with 0, 1, 2 or 130, and only wrong use with 2; the document then holds the one message."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from skrd4ad.cli import COMMANDS, MODULES, published_main
from skrd4ad.errors import CheckpointError, ConfigError, DataError, DependencyError, StorageError

Run = Callable[..., tuple[int, Any]]
MODEL = ["--model", "missing"]
DATA = ["--data", "missing"]
USED_RIGHTLY = {
    "app": [],
    "bundle": MODEL,
    "calibrate": MODEL,
    "challenge": MODEL,
    "compare": [*MODEL, *MODEL, *DATA],
    "demo": ["there"],
    "doctor": DATA,
    "evaluate": [*MODEL, *DATA],
    "export": MODEL,
    "history": [],
    "import-bundle": ["missing.zip"],
    "import-rd4ad": ["missing.pth", "--net", "efficientnet_lite0", "--res", "3"],
    "labels": ["dataset", "some/class", "name"],
    "models": [],
    "predict": [*MODEL, "missing.png", "--out", "there"],
    "report": [*MODEL, "missing.png", "--out", "there.pdf"],
    "retrain": MODEL,
    "roles": [],
    "runtimes": MODEL,
    "schema": [],
    "score": [*MODEL, "missing.parquet", "--out", "there"],
    "serve": MODEL,
    "serve-key": [],
    "study": [*MODEL, "missing.csv"],
    "train": [*DATA, "--class", "all"],
    "watch": ["missing", *MODEL],
}
NEEDS_NOTHING = {"app", "demo", "history", "models", "roles", "schema", "serve-key"}
WRONG = [
    ["app", "--port", "0"],
    ["bundle"],
    ["calibrate", *MODEL, "--way", "luck"],
    ["calibrate", *MODEL, "--escape-cost", "2"],
    ["challenge", *MODEL, "--add", "x.png"],
    ["compare", *MODEL, *DATA],
    ["demo", "there", "--size", "63"],
    ["doctor", *DATA, "--layout", "odd"],
    ["evaluate", *MODEL],
    ["export", *MODEL, "--precision", "int8"],
    ["export", *MODEL, "--max-flips", "2"],
    ["history", "--since", "yesterday"],
    ["import-bundle"],
    ["import-rd4ad", "x.pth", "--net", "res18", "--res", "4"],
    ["labels"],
    ["labels", "dataset", "no class", "name"],
    ["labels", "export", "some/class", "--format", "mvtec"],
    ["models", "--out"],
    ["predict", *MODEL, "--out", "there"],
    ["predict", *MODEL, "x.png", "--out", "there", "--mm-per-pixel", "0"],
    ["report", *MODEL, "x.png", "--out", "there.pdf", "--html", "there.pdf"],
    ["retrain", *MODEL, "--epochs", "none"],
    ["roles", "ada@example.org", "boss"],
    ["runtimes"],
    ["schema", "fly"],
    ["score", *MODEL, "missing.parquet", "--out", "there", "--part", "0"],
    ["study", *MODEL],
    ["serve", "--workers", "0"],
    ["serve-key", "line-3", "boss"],
    ["train", *DATA],
    ["watch", "missing"],
    ["train", "--data", "synthetic", "--class", "all", "--epochs", "0"],
]


def test_every_command_is_in_the_tables() -> None:
    assert set(USED_RIGHTLY) == set(COMMANDS) == {argv[0] for argv in WRONG}


@pytest.mark.parametrize("argv", WRONG, ids=" ".join)
def test_wrong_use_is_2(argv: list[str], as_json: Run) -> None:
    code, document = as_json(*argv)
    assert (code, list(document)) == (2, ["error"])


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_an_option_that_a_command_does_not_have_is_2(command: str, as_json: Run) -> None:
    code, document = as_json(command, *USED_RIGHTLY[command], "--fly")
    assert (code, list(document)) == (2, ["error"])


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - NEEDS_NOTHING))
def test_what_is_not_there_is_1(command: str, as_json: Run) -> None:
    code, document = as_json(command, *USED_RIGHTLY[command])
    assert code == 1
    assert list(document) == ["error"] or document["counts"]["UNREADABLE"] == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (DataError("x"), 1),
        (CheckpointError("x"), 1),
        (DependencyError("x"), 1),
        (StorageError("x"), 1),
        (PermissionError(13, "Permission denied", "x"), 1),
        (MemoryError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=repr,
)
def test_how_a_command_ends_is_the_same_everywhere(
    error: BaseException, code: int, as_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise error

    for command, argv in USED_RIGHTLY.items():
        module = import_module(f"skrd4ad.cli.{MODULES.get(command, command)}")
        with monkeypatch.context() as patch:
            for name in ("run_dataset",) if command == "labels" else ("run",):
                patch.setattr(module, name, failing)
            found, document = as_json(command, *argv)
        assert (command, found, list(document)) == (command, code, ["error"])
    monkeypatch.setattr("skrd4ad.cli.paper.run", failing)
    assert published_main(["--data_path", "missing"]) == code
