"""Who acts, and what they may do.

Every function of the services that changes something names the role that it needs by :func:`needs` or :func:`require`.
"""

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_args

from skrd4ad.errors import AccessError
from skrd4ad.types import Role

P = ParamSpec("P")
T = TypeVar("T")

ROLES: tuple[Role, ...] = get_args(Role)
"""From the least to the most; each may do what the ones before it may."""
MAY: dict[Role, str] = {
    "viewer": "looks and downloads",
    "inspector": "inspects, sends to review, labels, watches folders",
    "engineer": "calibrates, trains, retrains, evaluates, exports, imports, renames, archives",
    "admin": "deletes models, changes roles, removes what others watch",
}
_JOBS: dict[str, Role] = {"score": "inspector"}
"""Kinds of jobs that an engineer is not needed for."""
_NEEDS = "needs_role"


@dataclass(frozen=True)
class Actor:
    """Who acts, and what they may do."""

    name: str | None = None
    """None for the user that the process runs as."""
    role: Role = "admin"
    is_login: bool = False
    """The name was proved by a login: nobody signs with another one."""
    because: str = ""
    """Why the role is no greater and who gives another one, in a sentence or two; for the message of a refusal."""


SYSTEM = Actor()
"""The operating system's user: of the command line, of Python, and of the app's own threads."""
_ACTING: ContextVar[Actor | None] = ContextVar("acting", default=None)
_outside: Callable[[], Actor] = lambda: SYSTEM  # noqa: E731


@contextmanager
def acting_as(who: Actor | str | None) -> Iterator[None]:
    """Say who acts inside of the block. A name keeps the role that holds outside, and None leaves it to the system's
    user."""
    actor = who if isinstance(who, Actor) else Actor(who, acting().role)
    token = _ACTING.set(actor)
    try:
        yield
    finally:
        _ACTING.reset(token)


def acting() -> Actor:
    """Who acts: as named by :func:`acting_as`, else whom :func:`ask_outside` finds, else the system's user."""
    return _ACTING.get() or _outside()


def bound(work: Callable[P, T]) -> Callable[P, T]:
    """Work that is done later, in another thread, as who acts now."""
    actor = acting()

    @wraps(work)
    def as_then(*args: P.args, **values: P.kwargs) -> T:
        with acting_as(actor):
            return work(*args, **values)

    return as_then


def ask_outside(find: Callable[[], Actor]) -> None:
    """Have ``find`` say who acts where no block of :func:`acting_as` does: what a browser calls back is outside."""
    global _outside
    _outside = find


def acting_user() -> str:
    """Name of who acts: as named by :func:`acting_as`, or the user that the process runs as."""
    try:
        return acting().name or getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run as a number without a name
        return "unknown"


def signed(given: str) -> str:
    """The name that something is stored under: the one that was given, unless who acts has proved another one."""
    actor = acting()
    return actor.name if actor.is_login and actor.name else given


def needs(role: Role, deed: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function that only a role may call; ``deed`` completes "to …", such as "delete a model".

    The function raises AccessError before it does anything.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def checked(*args: P.args, **values: P.kwargs) -> T:
            require(role, deed)
            return function(*args, **values)

        setattr(checked, _NEEDS, (role, deed))
        return checked

    return decorate


def require(role: Role, deed: str) -> None:
    """Go on when who acts has a role.

    Raises:
        AccessError: they have a lesser one.
    """
    if not has_role(role):
        raise AccessError(refusal(role, deed))


def has_role(role: Role) -> bool:
    """Whether who acts has a role, or one that may do more."""
    return ROLES.index(acting().role) >= ROLES.index(role)


def why_not(function: Callable[..., Any]) -> str:
    """Why who acts may not call a function that was decorated by :func:`needs`; empty when they may."""
    role, deed = getattr(function, _NEEDS)
    return "" if has_role(role) else refusal(role, deed)


def why_not_job(kind: str, deed: str = "start such jobs") -> str:
    """Why who acts may not start or steer jobs of a kind; empty when they may."""
    role = job_role(kind)
    return "" if has_role(role) else refusal(role, deed)


def job_role(kind: str) -> Role:
    """The role that starts, pauses and cancels jobs of a kind."""
    return _JOBS.get(kind, "engineer")


def refusal(role: Role, deed: str) -> str:
    """What was wanted, which role may, which one it is, and who gives it."""
    actor = acting()
    return f"To {deed}, the role {role} is needed; this is done as {actor.role}. {actor.because}".rstrip()
