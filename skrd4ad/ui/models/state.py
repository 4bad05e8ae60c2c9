"""What the Models page keeps between its runs: the model it shows, what it has to tell, and checked digests."""

from pathlib import Path

import streamlit as st

from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError
from skrd4ad.export.manifest import read_export, require_intact
from skrd4ad.model_folder.info import WEIGHTS, ModelInfo
from skrd4ad.services.models.exports import ExportEntry

LIST = "models-list"
_TOLD, _WANTED = "_models-told", "_models-wanted"


def show_next(folder: Path) -> None:
    """Make the page show a model when it runs again."""
    st.session_state[_WANTED] = str(folder)


def settle_shown(folders: list[str], *, otherwise: str) -> None:
    """Choose which of the folders the list shows, before it is drawn; ``otherwise`` is shown at first."""
    wanted = st.session_state.pop(_WANTED, None)
    shown = wanted if wanted in folders else st.session_state.get(LIST)
    if shown not in folders:
        shown = otherwise if otherwise in folders else folders[0]
    st.session_state[LIST] = shown


def tell(message: str) -> None:
    """Have something said when the page runs again."""
    st.session_state[_TOLD] = message


def say_told() -> None:
    """Say what was left to be said."""
    if message := st.session_state.pop(_TOLD, None):
        st.success(message, icon=":material/check:")


def weights_problem(info: ModelInfo) -> str:
    """Why the weights of a model are not what was written; empty when they are. Taken again when the file changes."""
    return _weights_problem(str(info.folder), info.digest, _state(info.folder / WEIGHTS))


def export_problem(entry: ExportEntry) -> str:
    """Why the files of an export are not what was written, by name; empty when they are."""
    files = sorted(entry.folder.iterdir()) if entry.folder.is_dir() else []
    return entry.problem or _export_problem(str(entry.folder), tuple(_state(file) for file in files))


@st.cache_data(max_entries=256, show_spinner="Checking the weights …")
def _weights_problem(folder: str, digest: str, state: tuple[str, int, int]) -> str:  # noqa: ARG001 - a new state is a new file
    path = Path(folder) / WEIGHTS
    if file_digest(path) == digest:
        return ""
    return f"{path} was changed or damaged after it was written; restore it from a bundle, or train again."


@st.cache_data(max_entries=256, show_spinner="Checking the export …")
def _export_problem(folder: str, states: tuple[tuple[str, int, int], ...]) -> str:  # noqa: ARG001 - as above
    try:
        require_intact(read_export(Path(folder)))
    except CheckpointError as error:
        return str(error)
    return ""


def _state(path: Path) -> tuple[str, int, int]:
    try:
        state = path.stat()
    except OSError:
        return path.name, 0, 0
    return path.name, state.st_mtime_ns, state.st_size
