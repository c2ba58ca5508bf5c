"""The parser of all commands and their options."""

import argparse
import json
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from flowpi import __version__
from flowpi.cli.commands import (
    Arguments,
    Command,
    config_check,
    config_schema,
    config_show,
    demo,
    doctor,
    hand_over,
    light,
    listen,
    provision,
    record,
    run,
    serve,
    setup,
    spool_drop,
    spool_export,
    spool_list,
    spool_retry,
    status,
    transcribe,
)
from flowpi.core.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError where argparse prints its usage and exits with 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def parser() -> Parser:
    """Return the parser of all commands and options; use it through `parse`."""
    top = Parser(prog="flowpi", description="A dictation appliance: press a button, talk, read the text.")
    _add_common(top)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # In the order of the help.
    _add_services(commands)
    _add_clients(commands)
    _add_spool(commands)
    _add_checks(commands)
    _add_installation(commands)
    _add_config(commands)
    return top


def _add(to: Commands, name: str, command: Command, help: str) -> Parser:
    """Add a command with the common options."""
    sub = _add_group(to, name, help)
    sub.set_defaults(command=command)
    return sub


def _add_group(to: Commands, name: str, help: str) -> Parser:
    """Add a command that has only subcommands, and the common options."""
    sub = to.add_parser(name, help=help, description=help)
    _add_common(sub)
    return sub


def _add_services(to: Commands) -> None:
    _add(to, "run", run, "the daemon, in the foreground")
    sub = _add(to, "serve", serve, "the local transcription server")
    sub.add_argument("--listen", metavar="ADDR", action="append", default=[], help="HOST:PORT or unix:PATH; repeatable")
    sub.add_argument("--hand-over", metavar="DIR", help="write the configuration of flowpi-asr.service, and end")
    sub = _add(to, "demo", demo, "the whole pipeline on this machine, no hardware, no account")
    source = sub.add_mutually_exclusive_group()
    source.add_argument("wav", metavar="WAV", nargs="?", help="what to speak; default: the recording that flowpi ships")
    source.add_argument("--mic", action="store_true", help="record from the microphone, space bar as button")


def _add_clients(to: Commands) -> None:
    sub = _add(to, "record", record, "act as the button")
    sub.add_argument("action", choices=["start", "stop", "toggle", "cancel"])
    sub = _add(to, "listen", listen, "print messages as JSON lines")
    sub.add_argument("filters", metavar="FILTER", nargs="*", help="an MQTT topic filter; default: all topics but level")
    sub.add_argument("--text", action="store_true", help="final texts only, one a line")
    sub = _add(to, "status", status, "what the daemon is doing")
    sub.add_argument("--json", action="store_true", help="for a program")
    sub.add_argument("--follow", action="store_true", help="again at every change")
    sub = _add(to, "transcribe", transcribe, "a sound file to text on stdout, through the configured backends")
    sub.add_argument("file", metavar="FILE", help="WAV, FLAC, Ogg, MP3 and more; - for the standard input")
    sub.add_argument("--backend", metavar="NAME", help="this one only")


def _add_spool(to: Commands) -> None:
    spool = _add_group(to, "spool", "the utterances that are not delivered yet")
    actions = spool.add_subparsers(title="actions", metavar="ACTION", required=True)
    sub = _add(actions, "list", spool_list, "what waits, since when and why")
    sub.add_argument("--json", action="store_true", help="for a program")
    _add(actions, "retry", spool_retry, "try now; also what no backend took")
    sub = _add(actions, "export", spool_export, "the sound of each as a WAV; the spool keeps it")
    sub.add_argument("--to", metavar="DIR", default=".", help="where to; default: the present directory")
    sub = _add(actions, "drop", spool_drop, "delete for good")
    sub.add_argument("--all", action="store_true", help="everything that waits")
    for name in ("retry", "export", "drop"):
        actions.choices[name].add_argument(
            "ids", metavar="ID", nargs="*", help="as `spool list` shows it; a bare ULID means all its parts"
        )


def _add_checks(to: Commands) -> None:
    sub = _add(to, "doctor", doctor, "one finding per fault, each with what mends it")
    sub.set_defaults(reads_config=False)  # a wrong configuration is a finding too
    sub.add_argument("--json", action="store_true", help="for a program")
    mode = sub.add_mutually_exclusive_group()
    mode.add_argument("--panel", action="store_true", help="ask for a press of the button, and whether the LED flashed")
    mode.add_argument("--calibrate", action="store_true", help="find a good level of the microphone, by speaking")
    sub = _add(to, "light", light, "show a pattern on the LED, until Ctrl-C; with none, list them")
    sub.add_argument("pattern", metavar="PATTERN", nargs="?")
    sub.set_defaults(reads_config=False)  # the LED must work with a wrong configuration, too


def _add_installation(to: Commands) -> None:
    sub = _add(to, "setup", setup, "make a service of it on this machine, as root")
    sub.set_defaults(reads_config=False)
    sub.add_argument("--root", metavar="DIR", help="in the image of a machine, whose root DIR is; nothing is started")
    sub.add_argument("--dry-run", action="store_true", help="show what it would do")
    sub.add_argument("--remove", action="store_true", help="take it back; configuration and dictations stay")
    sub.add_argument("--purge", action="store_true", help="with --remove: delete these too")
    sub = _add(to, "provision", provision, "take over a configuration that was left on the boot partition")
    sub.add_argument("--boot", metavar="DIR", help="the boot partition; default: /boot/firmware, else /boot")
    sub.add_argument("--etc", metavar="DIR", help="where the configuration goes; default: /etc/flowpi")
    sub.set_defaults(reads_config=False)


def _add_config(to: Commands) -> None:
    config = _add_group(to, "config", "look at the configuration")
    actions = config.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add(actions, "check", config_check, "validate")
    _add(actions, "show", config_show, "the effective tree, secrets masked")
    _add(actions, "schema", config_schema, "JSON Schema of the file").set_defaults(reads_config=False)


def _add_common(to: Parser) -> None:
    """Add the options that every command has."""
    # Each level of commands stores them under names of its own. With one name, argparse would overwrite what was given
    # before the command by the default of the command.
    level = to.prog
    options = to.add_argument_group("common options")
    options.add_argument(
        "-c",
        "--config",
        dest=f"{level} config",
        metavar="FILE",
        help="default: $FLOWPI_CONFIG, else /etc/flowpi/flowpi.yaml if there is one",
    )
    options.add_argument(
        "-o", "--set", dest=f"{level} set", metavar="KEY=VALUE", action="append", help="one setting; repeatable"
    )
    options.add_argument("-v", "--verbose", dest=f"{level} verbose", action="count", help="say more; twice: everything")
    options.add_argument("--version", action="version", version=f"flowpi {__version__}")


def parse(argv: Sequence[str]) -> Arguments:
    """Parse a command line.

    Raises:
        UsageError: it is no valid command line.
    """
    arguments = parser().parse_args(argv, Arguments(reads_config=True))
    arguments.config, arguments.overrides, arguments.verbosity = None, [], 0
    for name, value in list(vars(arguments).items()):  # the outer levels come first, so the option given last wins
        if name.endswith(" config"):
            arguments.config = value or arguments.config
        elif name.endswith(" set"):
            arguments.overrides += value or []
        elif name.endswith(" verbose"):
            arguments.verbosity += value or 0
        if " " in name:
            delattr(arguments, name)
    if getattr(arguments, "hand_over", None):
        arguments.command, arguments.reads_config = hand_over, False  # an error is handed over, too
    # These options are settings with a shorter name. As overrides they are checked like any other.
    if getattr(arguments, "listen", None):
        arguments.overrides.append(f"server.listen={json.dumps(arguments.listen)}")
    if getattr(arguments, "backend", None):
        arguments.overrides.append(f"dictation.backends={json.dumps([arguments.backend])}")
    return arguments
