"""``skrd4ad serve-key``: who may send images to the service."""

import argparse

from skrd4ad.cli.output import DONE, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.errors import ConfigError
from skrd4ad.services.access import MAY, ROLES
from skrd4ad.services.api_keys import keys_file, make_key, read_keys, remove_key


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="Without a name the keys are listed. A key is shown once, when it is made; only its SHA-256 is kept. "
        + "; ".join(f"{role}: {may}" for role, may in MAY.items())
        + ". Each may do what the ones before it may.",
        example="serve-key line-3 inspector",
        run=run,
    )
    parser.add_argument("name", nargs="?", help="who has the key, such as line-3")
    parser.add_argument("role", nargs="?", choices=ROLES, help="what it may do (default: inspector)")
    parser.add_argument("--remove", action="store_true", help="refuse the key of that name from now on")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """List the keys, make one, or remove one."""
    if arguments.remove and (arguments.name is None or arguments.role is not None):
        raise ConfigError("--remove takes the name of a key alone, such as: serve-key line-3 --remove")
    key = None
    if arguments.remove:
        remove_key(arguments.name)
    elif arguments.name is not None:
        key = make_key(arguments.name, arguments.role or "inspector")
        output.note("The key is shown this once:")
        output.say(key)
    keys = read_keys()
    if key is None:
        for each in keys:
            output.say(f"{each.name}: {each.role}, since {each.created_at}")
        if not keys:
            output.note("There are no keys; `skrd4ad serve-key NAME ROLE` makes one.")
    listed = [{"name": each.name, "role": each.role, "created_at": each.created_at} for each in keys]
    output.document({"file": str(keys_file()), "key": key, "keys": listed})
    return DONE
