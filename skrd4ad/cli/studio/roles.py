"""``skrd4ad roles``: who may do what in the app."""

import argparse

from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.services.access import MAY, ROLES
from skrd4ad.services.roles import give_role, read_roles, roles_file

NONE = "none"


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="; ".join(f"{role}: {may}" for role, may in MAY.items())
        + ". Each may do what the ones before it may. Roles count where the app has a login.",
        example="roles ada@example.com admin",
        run=run,
    )
    parser.add_argument("login", nargs="?", help="e-mail address of the login, or its name where it has no address")
    parser.add_argument(
        "role", nargs="?", choices=(*ROLES, NONE), help=f"the role to give; {NONE} takes it off the list"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """List the roles, or give one."""
    if arguments.login is not None and arguments.role is not None:
        roles = give_role(arguments.login, None if arguments.role == NONE else arguments.role)
    else:
        roles = read_roles()
    shown = {each: role for each, role in roles.roles.items() if arguments.login in (None, each)}
    for login, role in shown.items():
        output.say(f"{login}: {role}")
    output.say(f"all others who are logged in: {roles.default}")
    output.document({"file": str(roles_file()), "default": roles.default, "roles": shown})
    return DONE
