"""Has the real az parse commands, as far as their arguments, and carries none of them out.

For: `make check-docs`, with a Python that has azure-cli. Standard input: what tests/support/commands.py
prints. Prints what is wrong, and how many commands there were.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile

os.environ["AZURE_CONFIG_DIR"] = tempfile.mkdtemp()  # nobody is signed in here
os.environ["AZURE_CORE_COLLECT_TELEMETRY"] = "no"

from azure.cli.core import get_default_cli
from knack.events import EVENT_INVOKER_POST_PARSE_ARGS
from knack.util import CLIError


class Parsed(Exception):
    """The arguments were accepted; this is as far as it goes."""


def parsed(*_, **__):
    raise Parsed


def wrong(arguments):
    """What az has to say against a command; nothing when it accepts it."""
    cli = get_default_cli()
    cli.register_event(EVENT_INVOKER_POST_PARSE_ARGS, parsed)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.invocation = cli.invocation_cls(
                cli_ctx=cli,
                parser_cls=cli.parser_cls,
                commands_loader_cls=cli.commands_loader_cls,
                help_cls=cli.help_cls,
            )
            cli.invocation.execute(arguments)
        except Parsed:
            return ""
        except CLIError as error:  # what only shows when all arguments are known
            return str(error)
        except SystemExit as ended:
            if not ended.code:  # its help was asked for
                return ""
            return said.getvalue().strip().partition("\n")[0] or "az did not accept it"
    return "az carried it out instead of parsing it"


def main():
    commands = json.load(sys.stdin)
    found = [(where, one, why) for where, one in commands if (why := wrong(one))]
    for where, one, why in found:
        print(f"{where}: az {' '.join(one)}\n    {why}")
    print(f"{len(commands)} az commands, {len(found)} of them wrong")
    return 1 if found or not commands else 0


if __name__ == "__main__":
    sys.exit(main())
