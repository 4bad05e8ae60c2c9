"""The models that come with the program."""

import shutil
from pathlib import Path

from skrd4ad.files import new_folder
from skrd4ad.model_folder.folder import find_models
from skrd4ad.paths import demo_models
from skrd4ad.services.access import needs

DEMO = "demo"
"""Name of their folders."""


@needs("engineer", "bring in the demo models")
def provide_demo_models(root: Path) -> list[Path]:
    """Copy the demo models to a folder that is to be made, to be calibrated, renamed and deleted like others.

    Nothing is done where that folder exists, whatever it holds.

    Returns:
        The model folders that were made.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    source = demo_models()
    if root.exists():
        return []
    found = [folder for folder in find_models(source) if folder.name == DEMO]
    with new_folder(root) as temporary:
        for folder in found:
            shutil.copytree(folder, temporary / folder.relative_to(source))
    return [root / folder.relative_to(source) for folder in found]
