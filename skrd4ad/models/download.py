"""Downloading one file whose hash is known."""

import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from skrd4ad.errors import WeightsError
from skrd4ad.types import Progress

_CHUNK = 1 << 20
_TIMEOUT_S = 30


def download(url: str, target: Path, *, sha256_prefix: str, progress: Progress | None = None) -> None:
    """Fetches ``url`` to ``target``, which appears only when it is complete and its hash is right.

    Args:
        url: http or https address.
        target: file to write; its folder is made when missing.
        sha256_prefix: hex digits that the SHA-256 of the file must begin with.
        progress: called with bytes done and total.

    Raises:
        WeightsError: no connection, an answer other than the file, a cut-off transfer, a wrong hash, or a folder
            that cannot be written.
    """
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.", delete=False) as file:
            part = Path(file.name)
            digest = _transfer(url, file, progress)
        if not digest.startswith(sha256_prefix):
            raise WeightsError(
                f"{url} gave another file than expected: its SHA-256 begins with {digest[: len(sha256_prefix)]}, "
                f"not {sha256_prefix}"
            )
        part.replace(target)
    except urllib.error.HTTPError as cause:
        cause.close()
        raise WeightsError(f"{url} answered {cause.code} {cause.reason}") from cause
    except urllib.error.URLError as cause:
        raise WeightsError(f"{url} cannot be reached ({cause.reason})") from cause
    except (OSError, http.client.HTTPException) as cause:
        raise WeightsError(f"fetching {url} to {target.parent} failed ({cause})") from cause
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _transfer(url: str, file: "BinaryIO | tempfile._TemporaryFileWrapper[bytes]", progress: Progress | None) -> str:
    """Streams the answer into the file; returns its SHA-256 in hex."""
    digest = hashlib.sha256()
    done = 0
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, max(done, total))
    if done < total:
        raise WeightsError(f"{url} was cut off after {done} of {total} bytes")
    return digest.hexdigest()
