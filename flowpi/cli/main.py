"""The command line: what can be asked, and how errors end.

Each command is a function `command(arguments, config) -> exit code` that imports what it needs when it is called:
`status` does not pay for numpy, nor `run` for aiohttp. Exit codes are sysexits (`core/errors.py`); errors go to
stderr as `flowpi: what is wrong: what to do`.
"""

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from flowpi import __version__
from flowpi.config.schema import Config
from flowpi.core.errors import ConfigError, FlowpiError, UsageError

Command = Callable[[argparse.Namespace, Config], int]

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT
EXIT_BROKEN_PIPE = 141  # as a shell reports SIGPIPE


def run(arguments: argparse.Namespace, config: Config) -> int:
    import logging

    from flowpi.appliance.daemon import run
    from flowpi.config.loading import config_path, load, warnings
    from flowpi.host.systemd import Notifier

    for warning in warnings(config, config_path(arguments.config)):
        logging.getLogger(__name__).warning(warning)
    return run(config, Notifier(), lambda: load(arguments.config, arguments.overrides))


def serve(arguments: argparse.Namespace, config: Config) -> int:
    import logging

    from flowpi.config.loading import config_path, warnings
    from flowpi.host.systemd import Notifier
    from flowpi.server.service import serve

    for warning in warnings(config, config_path(arguments.config)):
        logging.getLogger(__name__).warning(warning)
    return serve(config.server, Notifier())


def demo(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.demo import demo

    return demo(config, wav=arguments.wav, microphone=arguments.mic)


def record(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.record import record

    return record(config, arguments.action)


def listen(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.listen import listen

    return listen(config, filters=arguments.filters, text_only=arguments.text)


def status(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.status import status

    return status(config, as_json=arguments.json, follow=arguments.follow)


def transcribe(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.transcribe import transcribe

    return transcribe(config, arguments.file)


def doctor(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.config.loading import config_path, load

    if arguments.calibrate:
        from flowpi.doctor.calibration import calibrate

        return calibrate(load(arguments.config, arguments.overrides))
    from flowpi.doctor.run import doctor

    path = config_path(arguments.config)
    read = partial(load, arguments.config, arguments.overrides)
    return doctor(read, path=path, as_json=arguments.json, with_person=arguments.panel)


def provision(arguments: argparse.Namespace, config: Config) -> int:
    from pathlib import Path

    from flowpi.host import boot_config_status
    from flowpi.provision import apply

    boots = [Path(arguments.boot)] if arguments.boot else [Path(boot) for boot in apply.BOOT]
    elsewhere = arguments.boot or arguments.etc  # then it is not about this machine, unless systemd says so
    run = os.environ.get("RUNTIME_DIRECTORY") or (None if elsewhere else boot_config_status.RUN)
    return apply.provision(boots, Path(arguments.etc or apply.ETC), Path(run) if run else None)


def spool_list(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.spool import spool_list

    return spool_list(config, as_json=arguments.json)


def spool_retry(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.spool import spool_retry

    return spool_retry(config, arguments.ids)


def spool_export(arguments: argparse.Namespace, config: Config) -> int:
    from pathlib import Path

    from flowpi.cli.spool import spool_export

    return spool_export(config, arguments.ids, Path(arguments.to))


def spool_drop(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.spool import spool_drop

    return spool_drop(config, arguments.ids, everything=arguments.all)


def light(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.cli.light import NAMES, draw, show

    if arguments.pattern is None:
        return draw()
    if arguments.pattern not in NAMES:
        raise UsageError(f"there is no pattern {arguments.pattern!r}", "`flowpi light` shows what there is")
    return show(arguments.pattern, arguments.config, arguments.overrides)


def setup(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.setup.command import setup

    return setup(root=arguments.root, dry_run=arguments.dry_run, remove=arguments.remove, purge=arguments.purge)


def config_check(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.backends.chain import make_backends
    from flowpi.config.loading import config_path, warnings

    make_backends(config)  # what ends the daemon must not pass here
    path = config_path(arguments.config)
    for warning in warnings(config, path):
        print(f"flowpi: warning: {warning}", file=sys.stderr)
    print(f"{path or 'built-in defaults'}: ok")
    return 0


def config_show(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.config.loading import masked, to_yaml

    print(to_yaml(masked(config)), end="")
    return 0


def config_schema(arguments: argparse.Namespace, config: Config) -> int:
    from flowpi.config.loading import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


class Parser(argparse.ArgumentParser):
    """Raises UsageError, where argparse prints and exits with 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")


def parser() -> Parser:
    """All commands and options; use it through `parse`."""
    top = Parser(prog="flowpi", description="A dictation appliance: press a button, talk, read the text.")
    _common(top)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str, command: Command | None, help: str, to: "argparse._SubParsersAction[Parser]" = commands
    ) -> Parser:
        sub = to.add_parser(name, help=help, description=help)
        _common(sub)
        if command is not None:
            sub.set_defaults(command=command)
        return sub

    add("run", run, "the daemon, in the foreground")
    sub = add("serve", serve, "the local transcription server")
    sub.add_argument("--listen", metavar="ADDR", action="append", default=[], help="HOST:PORT or unix:PATH; repeatable")
    sub = add("demo", demo, "the whole pipeline on this machine, no hardware, no account")
    source = sub.add_mutually_exclusive_group()
    source.add_argument("wav", metavar="WAV", nargs="?", help="what to speak; default: the recording that flowpi ships")
    source.add_argument("--mic", action="store_true", help="record from the microphone, space bar as button")
    sub = add("record", record, "act as the button")
    sub.add_argument("action", choices=["start", "stop", "toggle", "cancel"])
    sub = add("listen", listen, "print messages as JSON lines")
    sub.add_argument("filters", metavar="FILTER", nargs="*", help="an MQTT topic filter; default: all topics but level")
    sub.add_argument("--text", action="store_true", help="final texts only, one a line")
    sub = add("status", status, "what the daemon is doing")
    sub.add_argument("--json", action="store_true", help="for a program")
    sub.add_argument("--follow", action="store_true", help="again at every change")
    sub = add("transcribe", transcribe, "a WAV to text on stdout, through the configured backends")
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--backend", metavar="NAME", help="this one only")
    sub = add("spool", None, "the utterances that are not delivered yet")
    actions = sub.add_subparsers(title="actions", metavar="ACTION", required=True)
    add("list", spool_list, "what waits, since when and why", actions).add_argument(
        "--json", action="store_true", help="for a program"
    )
    add("retry", spool_retry, "try now; also what no backend took", actions)
    add("export", spool_export, "the sound of each as a WAV; the spool keeps it", actions).add_argument(
        "--to", metavar="DIR", default=".", help="where to; default: the present directory"
    )
    add("drop", spool_drop, "delete for good", actions).add_argument(
        "--all", action="store_true", help="everything that waits"
    )
    for name in ("retry", "export", "drop"):
        actions.choices[name].add_argument(
            "ids", metavar="ID", nargs="*", help="as `spool list` shows it; a bare ULID means all its parts"
        )
    sub = add("doctor", doctor, "one finding per fault, each with what mends it")
    sub.set_defaults(reads_config=False)  # one that is wrong is a finding too
    sub.add_argument("--json", action="store_true", help="for a program")
    mode = sub.add_mutually_exclusive_group()
    mode.add_argument("--panel", action="store_true", help="ask for a press of the button, and whether the LED flashed")
    mode.add_argument("--calibrate", action="store_true", help="find a good level of the microphone, by speaking")
    sub = add("light", light, "show a pattern on the LED, until Ctrl-C; with none, list them")
    sub.add_argument("pattern", metavar="PATTERN", nargs="?")
    sub.set_defaults(reads_config=False)  # it must work with a wrong one
    sub = add("setup", setup, "make a service of it on this machine, as root")
    sub.set_defaults(reads_config=False)
    sub.add_argument("--root", metavar="DIR", help="in the image of a machine, whose root DIR is; nothing is started")
    sub.add_argument("--dry-run", action="store_true", help="show what it would do")
    sub.add_argument("--remove", action="store_true", help="take it back; configuration and dictations stay")
    sub.add_argument("--purge", action="store_true", help="with --remove: delete these too")
    sub = add("provision", provision, "take over a configuration that was left on the boot partition")
    sub.add_argument("--boot", metavar="DIR", help="the boot partition; default: /boot/firmware, else /boot")
    sub.add_argument("--etc", metavar="DIR", help="where the configuration goes; default: /etc/flowpi")
    sub.set_defaults(reads_config=False)
    sub = add("config", None, "look at the configuration")
    actions = sub.add_subparsers(title="actions", metavar="ACTION", required=True)
    add("check", config_check, "validate", actions)
    add("show", config_show, "the effective tree, secrets masked", actions)
    add("schema", config_schema, "JSON Schema of the file", actions).set_defaults(reads_config=False)
    return top


def _common(to: Parser) -> None:
    # A name for each level of commands: argparse lets the inner one overwrite what was given before the command.
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


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What is asked: `command`, its own options, and the common ones as `config`, `overrides` and `verbosity`.

    Raises:
        UsageError: the command line asks for something that does not exist.
    """
    arguments = parser().parse_args(argv, argparse.Namespace(reads_config=True))
    arguments.config, arguments.overrides, arguments.verbosity = None, [], 0
    for name, value in list(vars(arguments).items()):  # outer levels first, so that the last one wins
        if name.endswith(" config"):
            arguments.config = value or arguments.config
        elif name.endswith(" set"):
            arguments.overrides += value or []
        elif name.endswith(" verbose"):
            arguments.verbosity += value or 0
    # These are settings under a shorter name, so the configuration checks them.
    if getattr(arguments, "listen", None):
        arguments.overrides.append(f"server.listen={json.dumps(arguments.listen)}")
    if getattr(arguments, "backend", None):
        arguments.overrides.append(f"dictation.backends={json.dumps([arguments.backend])}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks. Returns the exit code; never raises but for `--help` and `--version`."""
    verbosity = 0
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        verbosity = arguments.verbosity

        from flowpi.host.systemd import setup_logging

        setup_logging(verbosity, service=arguments.command in (run, serve, provision))
        code: int = arguments.command(arguments, _config(arguments))
        sys.stdout.flush()  # here, where a reader that went away can still be handled
        return code
    except FlowpiError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if verbosity:
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        # Without its message, which may hold what was said, or a key.
        what = f"{type(error).__name__} in {os.path.basename(where.filename)}, line {where.lineno}"
        _say(f"internal error ({what}): please report it, with what you see when you run it again with -v")
        return EXIT_INTERNAL


def _config(arguments: argparse.Namespace) -> Config:
    if not arguments.reads_config:
        return Config()
    from flowpi.config.loading import load

    try:
        return load(arguments.config, arguments.overrides)
    except ConfigError as error:
        # The daemon goes on with the configuration of before, and now it is asked how it does.
        if arguments.command not in (record, listen, status) or arguments.config or arguments.overrides:
            raise
        _say(f"warning: {error}")
        return Config()


def _say(message: str) -> None:
    """To stderr as one line; a reader that went away is not worth an error."""
    from flowpi.host.systemd import stderr_is_journal

    mark = "<3>" if stderr_is_journal() else ""  # the reason why a service ends is an error there too
    with contextlib.suppress(OSError):
        print(f"{mark}flowpi:", message.encode("utf-8", "replace").decode(), file=sys.stderr)
