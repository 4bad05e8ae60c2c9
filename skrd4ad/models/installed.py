"""Which packages are installed, found out without importing them."""

import importlib.util

from skrd4ad.errors import ConfigError


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def version_of(package: str) -> str:
    """Version of an installed package; "not installed" where it is not."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def require_torch(what: str) -> None:
    """See that torch is there. ``what`` begins the message, such as "Training".

    Raises:
        ConfigError: it is not installed.
    """
    if not is_installed("torch"):
        raise ConfigError(
            f"{what} needs the Python package torch, which is not installed here; inspection does without. Install it, "
            "for example with `pip install torch torchvision`."
        )
