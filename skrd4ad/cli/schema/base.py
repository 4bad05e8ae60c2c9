"""What every JSON document of a command holds, and the one of an error."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Document:
    """What every document holds."""

    schema: Literal[1]
    """Version of the schema. Within a version values may be added, and none is changed or taken away."""


@dataclass(frozen=True, kw_only=True)
class ErrorDocument(Document):
    """In place of the document of a command that could not be done (exit code 1), was used wrongly (2) or was
    interrupted (130)."""

    error: str
