"""Every error that this package raises on purpose.

The tree::

    SkrdError
    ├── ConfigError            a setting is outside what is allowed
    ├── DataError              a data set cannot be used
    │   ├── ImageError         one file is not a usable image
    │   └── LayoutError        a folder has no layout that is known
    ├── DependencyError        a library that this needs is not installed
    ├── WeightsError           a teacher's weights cannot be found, fetched or trusted
    ├── CheckpointError        a model folder or a checkpoint file cannot be read or written
    │   └── DocumentError      a JSON document is damaged: a value is missing, unknown, or not what is allowed
    ├── TrainingError          training cannot start or go on
    │   └── TrainingCancelled  the user asked it to stop
    ├── ClusterError           a cluster cannot be reached, or did not do what it was given
    ├── StorageError           the database or the workspace cannot be used
    │   └── ConflictError      somebody else changed the same thing meanwhile
    ├── ChallengeError         limits would give a challenge part another verdict than it must get
    └── AccessError            who acts may not do this

A message says what was given, what is allowed, and what to do. Errors of lower layers (Pillow, torch, SQLAlchemy)
are translated where they cross into this package, with ``raise … from``.
"""

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {
    "images": ("imagecodecs", "pydicom"),
    "train": ("scipy", "torch", "torchvision", "efficientnet_lite_pytorch", "elpv_dataset"),
    "export": ("onnx", "onnxruntime", "onnxscript", "nncf"),
    "serve": ("starlette", "uvicorn", "python_multipart", "prometheus_client"),
    "cluster": ("ray", "fsspec", "pyarrow"),
    "app": ("streamlit", "pandas", "plotly"),
}
"""Libraries by the extra of ``pip install skrd4ad[EXTRA]`` that brings them; others are in every installation."""


class SkrdError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigError(SkrdError):
    """A setting is outside what is allowed; the message lists every wrong setting at once."""


class DependencyError(SkrdError):
    """A library that this needs is not installed, or cannot be used here; the message says how to install it."""


class ChallengeError(SkrdError):
    """Limits would give a challenge part another verdict than it must get."""


class DataError(SkrdError):
    """A data set cannot be used."""


class ImageError(DataError):
    """One file is not a usable image; the rest of a batch goes on without it."""


class LayoutError(DataError):
    """A folder holds no data set in a layout that is known."""


class WeightsError(SkrdError):
    """A teacher's weights cannot be found, fetched or trusted."""


class CheckpointError(SkrdError):
    """A model folder or a checkpoint file cannot be read or written."""


class DocumentError(CheckpointError):
    """A JSON document, in a file or in the database, is damaged or of another format."""


class TrainingError(SkrdError):
    """Training cannot start or go on."""


class TrainingCancelled(TrainingError):
    """The user asked a running training to stop; its last epoch is kept and can be resumed."""


class ClusterError(SkrdError):
    """A cluster cannot be reached, or did not do what it was given; what it finished is kept."""


class StorageError(SkrdError):
    """The database or the workspace folder cannot be used."""


class ConflictError(StorageError):
    """Somebody else changed the same thing meanwhile; nothing was overwritten."""


class AccessError(SkrdError):
    """Who acts may not do this; the message says what was wanted, which role may, and who gives it."""


@contextmanager
def needing_extras(what: str) -> Iterator[None]:
    """Name the extra where the block imports a library that is not installed; ``what`` begins the message.

    Raises:
        DependencyError: in place of the ModuleNotFoundError of such a library.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = next((extra for extra, modules in EXTRAS.items() if missing in modules), None)
        if extra is None:
            raise
        raise DependencyError(
            f"{what} needs {missing}, which is not installed: `pip install 'skrd4ad[{extra}]'`."
        ) from error
