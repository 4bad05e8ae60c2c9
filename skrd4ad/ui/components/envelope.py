"""One bytes payload for a component in the browser.

Streamlit hands raw bytes to a component only as the whole of its ``data``. So a payload is: length of the header as a
little-endian u32, the header as UTF-8 JSON, and the blobs one after the other. The header's ``blobs`` gives each blob's
offset from the end of the header and its length.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

from skrd4ad.errors import DataError

_LENGTH = struct.Struct("<I")


def pack(header: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    """Payload of a JSON-ready header and named blobs."""
    if "blobs" in header:
        raise DataError("The header has a key 'blobs'; that name is taken for the table of blobs.")
    table: dict[str, tuple[int, int]] = {}
    offset = 0
    for name, blob in blobs.items():
        table[name] = (offset, len(blob))
        offset += len(blob)
    head = json.dumps({**header, "blobs": table}, allow_nan=False).encode()
    return b"".join([_LENGTH.pack(len(head)), head, *blobs.values()])


def unpack(payload: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header (without its table) and blobs of a payload.

    Raises:
        DataError: the payload is cut off or is none.
    """
    try:
        (length,) = _LENGTH.unpack_from(payload)
        start = _LENGTH.size + length
        header = json.loads(payload[_LENGTH.size : start])
        table = header.pop("blobs")
        blobs = {name: payload[start + offset : start + offset + size] for name, (offset, size) in table.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Not a component payload: {error}.") from error
    if any(len(blobs[name]) != size for name, (_, size) in table.items()):
        raise DataError("The component payload is cut off.")
    return header, blobs
