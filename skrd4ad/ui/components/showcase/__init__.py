"""Parts with their heat and verdict, and models as cards, each one press from the Inspect page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from skrd4ad.types import Verdict
from skrd4ad.ui.components.browser import load_component
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.components.presses import Press, handled_presses, new_presses
from skrd4ad.ui.theme import ON_REJECT, VERDICTS

_component = load_component(Path(__file__).parent, "../envelope.js", "../presses.js", "demo.js")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A photograph with its heat over it."""

    photograph: bytes
    """File of an image that browsers show."""
    heat: bytes = b""
    """PNG with transparency over the whole photograph; empty for none."""


@dataclass(frozen=True, kw_only=True)
class PartCard:
    """A part that is shown large."""

    model: str
    """Its model by :func:`skrd4ad.services.models.list.model_name`."""
    name: str
    key: str
    """Names the part on the Inspect page."""
    picture: Picture
    verdict: Verdict
    score: str
    """With its limit."""
    about: str


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model."""

    model: str
    title: str
    picture: Picture | None
    lines: Sequence[str]
    details: Sequence[tuple[str, str]] = field(default=())
    """Names and values, folded away."""


def showcase(
    parts: Sequence[PartCard], models: Sequence[ModelCard], *, slides: Sequence[PartCard] = (), key: str
) -> list[Press]:
    """Show cards, and ``slides`` one after the other over the whole window until somebody comes.

    Returns:
        What was pressed since: ``part`` with its model as the image and its key as the value, ``model``, and ``stop``
        when somebody came.
    """
    header = {
        "parts": [{**asdict(part), "picture": f"part-{i}"} for i, part in enumerate(parts)],
        "models": [{**asdict(model), "picture": model.picture and f"model-{i}"} for i, model in enumerate(models)],
        "slides": [{**asdict(slide), "picture": f"slide-{i}"} for i, slide in enumerate(slides)],
        "verdicts": {name: asdict(look) for name, look in VERDICTS.items()},
        "onReject": ON_REJECT,
        **handled_presses(key),
    }
    pictures = {f"part-{i}": part.picture for i, part in enumerate(parts)}
    pictures |= {f"model-{i}": model.picture for i, model in enumerate(models) if model.picture}
    pictures |= {f"slide-{i}": slide.picture for i, slide in enumerate(slides)}
    blobs = {name: picture.photograph for name, picture in pictures.items()}
    blobs |= {f"{name}-heat": picture.heat for name, picture in pictures.items()}
    _component(key=key, data=pack(header, blobs), on_presses_change=lambda: None)
    return new_presses(key)
