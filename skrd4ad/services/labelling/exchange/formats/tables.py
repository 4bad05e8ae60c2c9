"""The files of labels in a bundle, each read once."""

import json
from typing import Any

from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.sources import Bundle


class Tables:
    """Files of labels of a bundle, by their names."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._documents: dict[str, Any] = {}

    def named(self, suffix: str) -> list[str]:
        """See :meth:`Bundle.tables`."""
        return self.bundle.tables(suffix)

    def text(self, name: str) -> str:
        """The text of a file."""
        return self.bundle.text(name)

    def json(self, name: str) -> Any:
        """What a JSON file holds."""
        if name not in self._documents:
            try:
                self._documents[name] = json.loads(self.bundle.text(name))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{name} is no JSON file, or it is damaged: {error}.") from error
        return self._documents[name]
