"""How a folder is to be read, as text that opens it again: ``auto``, or ``folder?good=IO&masks=Bilder``."""

from dataclasses import dataclass, fields
from urllib.parse import parse_qs, urlencode

from skrd4ad.errors import LayoutError


@dataclass(frozen=True, kw_only=True)
class Hints:
    """A layout, and what a user says of names and values that the program would otherwise guess."""

    layout: str = "auto"
    good: tuple[str, ...] = ()
    """Names of folders of good parts; only these are good then."""
    masks: tuple[str, ...] = ()
    """Names of folders of masks, besides the usual ones."""
    mask_values: str = ""
    """See :mod:`skrd4ad.data.images.mask_values`."""

    def __str__(self) -> str:
        """The text that :func:`read_hints` reads."""
        given = {"good": self.good, "masks": self.masks, "mask_values": self.mask_values}
        told = urlencode({name: value for name, value in given.items() if value}, doseq=True)
        return f"{self.layout}?{told}" if told else self.layout


def read_hints(text: str) -> Hints:
    """Hints of their text.

    Raises:
        LayoutError: it names a hint that there is not.
    """
    layout, _, told = text.partition("?")
    given = parse_qs(told)
    known = {each.name for each in fields(Hints)} - {"layout"}
    if set(given) - known:
        raise LayoutError(f"The layout is {text!r}; allowed after the question mark: {', '.join(sorted(known))}.")
    return Hints(
        layout=layout or "auto",
        good=tuple(given.get("good", ())),
        masks=tuple(given.get("masks", ())),
        mask_values="".join(given.get("mask_values", [])[:1]),
    )
