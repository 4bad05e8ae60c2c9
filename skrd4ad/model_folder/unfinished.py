"""Trainings that are not complete, by what they leave on disk."""

import glob
from contextlib import suppress
from pathlib import Path

from skrd4ad.errors import CheckpointError
from skrd4ad.model_folder.first_look import remove_first_look

SUFFIX = ".training.safetensors"
"""Stands beside the folder of the run, ``<run>.training.safetensors``, until the run is complete."""
MARKER = ".unfinished"
"""In a model folder whose training is not complete: its figures are still being measured. Nobody lists it."""


def state_file(run: Path) -> Path:
    """Where the training state of a run is while it is not complete."""
    return run.with_name(run.name + SUFFIX)


def unfinished_runs(parent: Path) -> list[Path]:
    """Runs below ``<out>/<dataset>/<class>/`` that were begun and not completed, newest first."""
    files = sorted(parent.glob(f"*{SUFFIX}"), reverse=True) if parent.is_dir() else []
    runs = [file.with_name(file.name.removesuffix(SUFFIX)) for file in files]
    # a process may die after its model folder is whole and before its state is gone
    return [run for run in runs if not run.exists() or is_unfinished(run)]


def is_unfinished(folder: Path) -> bool:
    """Whether the training of a model folder is not complete."""
    return (folder / MARKER).exists()


def finish(folder: Path) -> None:
    """Let a model folder be seen, and remove the state of its training and its first look.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        (folder / MARKER).unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"The folder {folder} cannot be written: {error.strerror or error}.") from error
    remove_first_look(folder)
    # last: by it finish_killed knows what a killed process left
    remove_state(state_file(folder))


def finish_killed(root: Path) -> None:
    """Remove states and first looks of complete models below ``root``, whose process died before it could."""
    for state in root.glob(f"*/*/*{SUFFIX}"):
        run = state.with_name(state.name.removesuffix(SUFFIX))
        if run.exists() and not is_unfinished(run):
            finish(run)


def remove_state(path: Path) -> None:
    """Remove the training state of a run that is complete, with what interrupted writes of it left behind."""
    for file in [path, *path.parent.glob(f".{glob.escape(path.name)}.*")]:
        # the model is safe already, so a file that cannot be removed is only a file too many
        with suppress(OSError):
            file.unlink()
