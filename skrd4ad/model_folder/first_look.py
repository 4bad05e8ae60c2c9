"""The model of the memory bank alone, which can be inspected with while its student learns."""

from contextlib import suppress
from pathlib import Path

from skrd4ad.files import remove_folder
from skrd4ad.model_folder.info import read_history
from skrd4ad.model_folder.metadata import ABOUT

SUFFIX = "-first-look"


def first_look_folder(run: Path) -> Path:
    """Where the first look of a training lies; ``run`` is the folder of the full model."""
    return run.with_name(run.name + SUFFIX)


def full_model_folder(folder: Path) -> Path:
    """The model that takes the place of a first look; the folder of any other model as it is."""
    return folder.with_name(folder.name.removesuffix(SUFFIX))


def remove_first_look(run: Path) -> None:
    """Remove the first look of a model that is complete, unless somebody named it or chose limits for it."""
    folder = first_look_folder(run)
    if not folder.is_dir() or (folder / ABOUT).exists():
        return
    history = read_history(folder)
    if history is None or len(history.versions) == 1:
        # a folder that cannot be removed is only a model too many
        with suppress(OSError):
            remove_folder(folder)
