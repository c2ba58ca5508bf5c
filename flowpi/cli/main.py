"""The command line: from its arguments to an exit code, and how errors end.

Exit codes are sysexits (`core/errors.py`); errors go to stderr as `flowpi: what is wrong: what to do`.
"""

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowpi.cli import output
from flowpi.cli.commands import (
    Arguments,
    hand_over,
    hook_hand_over,
    hook_run,
    keyboard_hand_over,
    keyboard_run,
    last,
    listen,
    provision,
    record,
    run,
    serve,
    sinks,
    status,
)
from flowpi.core.errors import ConfigError, FlowpiError, OutputError
from flowpi.core.safe_text import printable

if TYPE_CHECKING:
    from flowpi.config.schema import Config

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def parse(argv: Sequence[str]) -> Arguments:
    """Parse a command line. Raises UsageError if it is not valid."""
    if list(argv) == ["run"]:  # the service at each start: argparse and all its parsers would take a tenth of the time
        return Arguments(command=run, reads_config=True, config=None, overrides=[], verbosity=0)
    from flowpi.cli import parser

    return parser.parse(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. Raises only SystemExit, for `--help` and `--version`."""
    output.attach()
    try:
        code = _run(argv)
    except SystemExit as ended:  # `--help` and `--version`, which may have met a full disk
        if failed := _finish(0):
            return failed
        raise ended
    return _finish(code)


def _run(argv: Sequence[str] | None) -> int:
    """Run a command line and return its exit code, with its output perhaps still in the buffer."""
    verbosity = 0
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        verbosity = arguments.verbosity
        if arguments.command is run:
            # What a start imports is no garbage, and the collector would look at it a hundred times. The daemon enables
            # it when it is ready.
            gc.disable()

        from flowpi.host.systemd import setup_logging

        services = (run, serve, hand_over, hook_run, hook_hand_over, keyboard_run, keyboard_hand_over)
        setup_logging(verbosity, service=arguments.command in (*services, provision))
        if arguments.command in services:
            from flowpi.host.undumpable import forbid_dumps

            forbid_dumps()  # before the first secret or text is read
        return arguments.command(arguments, _config(arguments))
    except FlowpiError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        output.silence()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if verbosity:
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        # Without its message, which may contain dictated text or a key.
        what = f"{type(error).__name__} in {os.path.basename(where.filename)}, line {where.lineno}"
        _say(f"internal error ({what}): please report it, with what you see when you run it again with -v")
        return EXIT_INTERNAL
    finally:
        gc.enable()


def _finish(code: int) -> int:
    """Write what is left of the output, and return the exit code.

    Here it can still be handled that this fails; when the interpreter exits it could not.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        output.silence()
        return code or EXIT_BROKEN_PIPE
    except OutputError as error:
        return code or _fail(error)
    return code


def _fail(error: FlowpiError) -> int:
    """Print what is wrong, and return its exit code."""
    if isinstance(error, OutputError):
        output.silence()
    _say(str(error))
    for other in error.others if isinstance(error, ConfigError) else ():
        _say(str(other))
    return error.exit_code


def _config(arguments: Arguments) -> "Config":
    """Load the configuration, or return the defaults for a command that needs none.

    Raises:
        ConfigError: it cannot be used.
        UsageError: what cannot be used was typed as an option of its own.
    """
    from flowpi.config.schema import Config

    if not arguments.reads_config:
        return Config()
    from flowpi.config.loading import load

    handed = os.environ.get("FLOWPI_HANDED_OVER") if arguments.command in (serve, hook_run, keyboard_run) else None
    if handed and not arguments.config:
        from pathlib import Path

        from flowpi.host.handover import handed_over

        arguments.config = handed_over(Path(handed))
    try:
        return load(arguments.config, arguments.overrides)
    except ConfigError as error:
        # A daemon that was started before the mistake still runs: these commands only ask where its socket is.
        if arguments.command not in (record, last, listen, sinks, status) or arguments.config or arguments.overrides:
            if not arguments.overrides:
                raise
            from flowpi.cli.parser import explain

            raise explain(error, arguments) from None
        _say(f"warning: {error}")
        return Config()


def _say(message: str) -> None:
    """Print a line on stderr. That nobody reads it is no error."""
    from flowpi.host.systemd import stderr_is_journal

    mark = "<3>" if stderr_is_journal() else ""  # the priority `err`: it is the reason why a service ended
    with contextlib.suppress(OSError):
        print(f"{mark}flowpi:", printable(message, None), file=sys.stderr)  # it names what files and users say
