"""Roles of people: a small file in the workspace, ``roles.toml``, which says who may do what.

::

    default = "viewer"        # of those who are logged in and not listed

    [roles]
    "ada@example.com" = "admin"
    "bo@example.com" = "inspector"
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from skrd4ad import documents
from skrd4ad.errors import ConfigError, DocumentError
from skrd4ad.files import locked, new_file
from skrd4ad.paths import read_regular, workspace
from skrd4ad.services.access import ROLES, Actor, needs
from skrd4ad.services.history import record
from skrd4ad.types import Role

FILE = "roles.toml"
LONGEST = 254
"""Characters of a login; e-mail addresses have no more."""
_HEAD = "# Who may do what; README.md says what each role may. Write it here, or by: skrd4ad roles LOGIN ROLE\n"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Who has which role."""

    default: Role = "viewer"
    """Of those who are logged in and not listed."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """By e-mail address, or by name where the login tells no address."""

    def of(self, login: str) -> Role:
        """The role of a login; the case of its letters does not matter."""
        listed = {name.strip().casefold(): role for name, role in self.roles.items()}
        return listed.get(login.strip().casefold(), self.default) if login.strip() else self.default


def roles_file() -> Path:
    """Where the roles are kept."""
    return workspace() / FILE


def read_roles() -> Roles:
    """The roles as they stand now; without a file nobody is listed.

    Raises:
        DocumentError: the file is damaged.
    """
    path = roles_file()
    try:
        values = tomllib.loads(read_regular(path).decode("utf-8"))
    except FileNotFoundError:
        return Roles()
    except (OSError, ValueError) as error:
        raise documents.damaged(str(path), str(error), remedy=_REMEDY) from error
    return documents.decode(values, Roles, what=str(path), remedy=_REMEDY)


def roles_problem() -> str:
    """Why the file with the roles does not count; empty when it does."""
    try:
        read_roles()
    except DocumentError as error:
        return str(error)
    return ""


_REMEDY = "Until it is corrected, everybody who is logged in is a viewer."


def actor_of(name: str, login: str) -> Actor:
    """Who is logged in, with the role that the file gives them; that of a viewer where the file is damaged.

    Args:
        name: what the history calls them.
        login: their proved e-mail address, or name where there is none; empty where nothing is proved.
    """
    actor = Actor(name, "viewer", is_login=True)
    try:
        roles = read_roles()
    except DocumentError as error:
        return replace(actor, because=str(error))
    admins = [each for each, role in roles.roles.items() if role == "admin"]
    gives = f"{', '.join(admins)} can give another role." if admins else f"Whoever runs the app gives roles in {FILE}."
    return replace(actor, role=roles.of(login), because=f"You are logged in as {login or name}. {gives}")


@needs("admin", "give a role")
def give_role(login: str, role: Role | None) -> Roles:
    """Give a role to a login, from now on; None takes it off the list. Returns the roles as they stand then."""
    login = login.strip()
    if not login or len(login) > LONGEST or not login.isprintable():
        raise ConfigError(f"The login {login!r} cannot be used; allowed: 1 to {LONGEST} printable characters.")
    if role not in (*ROLES, None):
        raise ConfigError(f"The role is {role!r}; allowed: {', '.join(ROLES)}.")
    with locked(workspace()):
        before = read_roles()
        others = {each: had for each, had in before.roles.items() if each.strip().casefold() != login.casefold()}
        after = replace(before, roles=others if role is None else {**others, login: role})
        with new_file(roles_file()) as temporary:
            temporary.write_text(_text(after), encoding="utf-8")
    record("role given", details={"login": login, "role": role or "none", "before": before.of(login)})
    return after


def _text(roles: Roles) -> str:
    # a JSON text is a TOML text as well, but for DEL, which is not printable
    lines = [f"{json.dumps(login, ensure_ascii=False)} = {json.dumps(role)}" for login, role in roles.roles.items()]
    return "\n".join([f"{_HEAD}default = {json.dumps(roles.default)}", "", "[roles]", *lines, ""])
