"""API keys of ``skrd4ad serve``: who may send what, in ``api_keys.json`` of the workspace.

Only the SHA-256 of a key is kept. A key holds 256 random bits: nobody finds it by trying, so no slow hash is needed.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from skrd4ad import documents
from skrd4ad.errors import ConfigError
from skrd4ad.files import locked, write_json
from skrd4ad.model_folder.calibration import this_moment
from skrd4ad.paths import workspace
from skrd4ad.services.access import ROLES, Actor, needs
from skrd4ad.services.history import record
from skrd4ad.types import Role

FILE = "api_keys.json"
FORMAT = 1
LONGEST = 80
PREFIX = "skrd4ad_"
"""By which scanners of published code can tell a key."""


@dataclass(frozen=True, kw_only=True)
class ServiceKey:
    """Who has a key, and what it may do; not the key itself."""

    name: str
    role: Role
    sha256: str
    created_at: str = field(default_factory=this_moment)


@dataclass(frozen=True)
class _Keys:
    keys: tuple[ServiceKey, ...] = ()


def keys_file() -> Path:
    """Where the keys are kept."""
    return workspace() / FILE


def read_keys() -> tuple[ServiceKey, ...]:
    """The keys as they stand now, the oldest first.

    Raises:
        DocumentError: the file is damaged.
    """
    path = keys_file()
    if not path.is_file():
        return ()
    return documents.read(path, _Keys, format=FORMAT, remedy="Delete it, and make the keys anew.").keys


def actor_of_key(key: str) -> Actor | None:
    """Who has a key; None where nobody has. A key that was made or removed counts from the next call on."""
    digest = _digest(key)
    found = [each for each in read_keys() if hmac.compare_digest(each.sha256, digest)]
    if not found:
        return None
    because = f"The key is that of {found[0].name}; `skrd4ad serve-key NAME ROLE` makes one with another role."
    return Actor(found[0].name, found[0].role, is_login=True, because=because)


@needs("admin", "make a key")
def make_key(name: str, role: Role) -> str:
    """Make a key for a program, and give it: it cannot be had again."""
    name = name.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise ConfigError(f"The name is {name!r}; allowed: 1 to {LONGEST} printable characters.")
    if role not in ROLES:
        raise ConfigError(f"The role is {role!r}; allowed: {', '.join(ROLES)}.")
    key = f"{PREFIX}{secrets.token_urlsafe(32)}"
    with locked(workspace()):
        before = read_keys()
        if any(each.name == name for each in before):
            raise ConfigError(f"{name!r} has a key already. Remove it first, or take another name.")
        _write((*before, ServiceKey(name=name, role=role, sha256=_digest(key))))
    record("key made", details={"name": name, "role": role})
    return key


@needs("admin", "remove a key")
def remove_key(name: str) -> None:
    """Refuse a key from now on."""
    with locked(workspace()):
        before = read_keys()
        after = tuple(each for each in before if each.name != name)
        if len(after) == len(before):
            names = ", ".join(each.name for each in before) or "nobody"
            raise ConfigError(f"{name!r} has no key; there are keys of: {names}.")
        _write(after)
    record("key removed", details={"name": name})


def _write(keys: tuple[ServiceKey, ...]) -> None:
    write_json(keys_file(), _Keys(keys), format=FORMAT)
    keys_file().chmod(0o600)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
