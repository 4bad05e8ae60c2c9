"""Where things live: the workspace, the model folders, the folders a user of the app may read; opening files there."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from skrd4ad.errors import DataError, StorageError

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def workspace() -> Path:
    """Folder for uploads, caches and the database (``SKRD4AD_HOME``, default ``./workspace``); made when missing."""
    home = Path(os.environ.get("SKRD4AD_HOME") or "workspace").expanduser().resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The workspace folder {home} cannot be made: {error.strerror}. Set SKRD4AD_HOME to a folder that can be "
            "written."
        ) from error
    return home


def checkpoints() -> Path:
    """Folder of the model folders (``SKRD4AD_CHECKPOINTS``, default ``./checkpoints``); not made here."""
    return Path(os.environ.get("SKRD4AD_CHECKPOINTS") or "checkpoints").expanduser().resolve()


def listed_models() -> Path:
    """Folder whose models are listed: that of :func:`checkpoints`, and before anybody has made or named one, that of
    the models that come with the program."""
    own = checkpoints()
    return own if own.is_dir() or os.environ.get("SKRD4AD_CHECKPOINTS") else demo_models()


def demo_models() -> Path:
    """Folder of the model folders that come with the program."""
    return _shipped("demo_models", in_checkout="checkpoints")


def streamlit_settings() -> Path:
    """The file of Streamlit's settings for the app."""
    return _shipped("streamlit", in_checkout=".streamlit") / "config.toml"


def assets() -> Path:
    """Folder of the logo and the icon of the app."""
    return _shipped("assets", in_checkout="assets")


def _shipped(name: str, *, in_checkout: str) -> Path:
    """A folder of the installation, which ``setup.py`` takes from beside the package."""
    installed = Path(__file__).parent / "shipped" / name
    return installed if installed.is_dir() else Path(__file__).parents[1] / in_checkout


def data_roots() -> list[Path]:
    """Folders that the app may list and read (``SKRD4AD_DATA_ROOTS``, separated as in ``PATH``). The default is the
    workspace and the user's home folder. The command line reads any path its user may read."""
    given = os.environ.get("SKRD4AD_DATA_ROOTS")
    if given is None:
        return [workspace(), Path.home().resolve()]
    return [Path(part).expanduser().resolve() for part in given.split(os.pathsep) if part]


def inside_data_roots(path: str | Path) -> Path:
    """``path`` with links resolved, if it lies under a data root.

    Raises:
        DataError: it lies elsewhere. The message does not tell whether it exists.
    """
    resolved = Path(path).expanduser().resolve()
    roots = data_roots()
    if any(resolved.is_relative_to(root) for root in roots):
        return resolved
    allowed = ", ".join(str(root) for root in roots)
    raise DataError(
        f"The folder {path} is outside the folders this app may read ({allowed}). "
        "Move the data there, or start the app with SKRD4AD_DATA_ROOTS naming its folder."
    )


def open_regular(path: Path) -> BufferedReader:
    """A file opened for reading; no named pipe or device, which may keep its reader for ever.

    Raises:
        OSError: it is not there, may not be read, or is no regular file; ``strerror`` says which.
    """
    _check(path, path.stat().st_mode)  # some devices act when they are opened
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor).st_mode)  # another file may stand there by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path) -> bytes:
    """Content of a file; raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), None)
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are read", str(path))
