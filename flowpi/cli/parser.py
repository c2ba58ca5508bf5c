"""The parser of all commands and their options."""

import argparse
import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

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
    hook,
    hook_hand_over,
    hook_run,
    keyboard_gadget,
    keyboard_hand_over,
    keyboard_run,
    keyboard_test,
    last,
    light,
    listen,
    provision,
    record,
    run,
    serve,
    setup,
    show_help,
    sinks,
    spool_drop,
    spool_export,
    spool_list,
    spool_retry,
    status,
    transcribe,
)
from flowpi.core.captions import FORMATS
from flowpi.core.errors import ConfigError, FlowpiError, UsageError
from flowpi.core.moments import PERSON_FORMS
from flowpi.core.nearest import nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError where argparse prints its usage and exits with 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse has no public place for this, and its own message lists the choices without the nearest.
        if action.choices is not None and value not in action.choices:
            see = f"see `flowpi --{value}`" if value in ("help", "version") else nearest(value, action.choices)
            raise UsageError(f"there is no {str(action.metavar).lower()} {value!r}", see)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def parser() -> Parser:
    """Return the parser of all commands and options; use it through `parse`."""
    about = "A dictation appliance: press a button, talk, read the text."
    top = Parser(prog="flowpi", **_texts(about, "flowpi demo", "flowpi status", "flowpi transcribe interview.wav"))
    top.set_defaults(command=show_help, reads_config=False)
    _add_common(top)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    # In the order of the help.
    _add_services(commands)
    _add_clients(commands)
    _add_spool(commands)
    _add_sinks(commands)
    _add_checks(commands)
    _add_installation(commands)
    _add_config(commands)
    return top


def _add(to: Commands, name: str, command: Command, help: str, *examples: str) -> Parser:
    """Add a command with the common options."""
    sub = _add_group(to, name, help, *examples)
    sub.set_defaults(command=command, reads_config=True)
    return sub


def _add_group(to: Commands, name: str, help: str, *examples: str) -> Parser:
    """Add a command that has only subcommands, and the common options."""
    sub = to.add_parser(name, help=help, **_texts(help, *examples))
    _add_common(sub)
    return sub


def _texts(description: str, *examples: str) -> dict[str, Any]:
    """Return the arguments of a parser for what stands above and below its options."""
    lines = [f"example{'s' if len(examples) > 1 else ''}:", *(f"  {example}" for example in examples)]
    formatter = argparse.RawDescriptionHelpFormatter  # which leaves each example on its line
    return {"description": description, "epilog": "\n".join(lines), "formatter_class": formatter}


def _add_services(to: Commands) -> None:
    _add(to, "run", run, "the daemon, in the foreground", "flowpi run -o audio.device=plughw:CARD=Device")
    sub = _add(to, "serve", serve, "the local transcription server", "flowpi serve --listen 127.0.0.1:8123")
    sub.add_argument("--listen", metavar="ADDR", action="append", default=[], help="HOST:PORT or unix:PATH; repeatable")
    sub.add_argument("--hand-over", metavar="DIR", help="write the configuration of flowpi-asr.service, and end")
    about = "run the command of the configuration for each text, and what it refused"
    sub = _add(to, "hook", hook, about, "sudo flowpi hook list", "flowpi hook -o publish.command.run=[/bin/cat]")
    actions = ["run", "list", "retry", "skip"]
    about = (
        "run, the default: be the service; list: what it refused; retry: now, also what it refused; "
        "skip: give up the text it waits with, else forget what it refused"
    )
    sub.add_argument("action", metavar="ACTION", nargs="?", default="run", choices=actions, help=about)
    sub.add_argument("--json", action="store_true", help="the list for a program")
    sub.add_argument("--hand-over", metavar="DIR", help="write the configuration of flowpi-hook.service, and end")
    sub.set_defaults(reads_config=False)  # but for run
    _add_keyboard(to)
    about = "the whole pipeline on this machine, no hardware, no account"
    sub = _add(to, "demo", demo, about, "flowpi demo", "flowpi demo --mic -o audio.device=plughw:CARD=Device")
    source = sub.add_mutually_exclusive_group()
    source.add_argument("wav", metavar="WAV", nargs="?", help="what to speak; default: the recording that flowpi ships")
    source.add_argument("--mic", action="store_true", help="record from the microphone, space bar as button")


def _add_keyboard(to: Commands) -> None:
    about = "type each text, as the keyboard of this machine or of another computer"
    keyboard = _add(to, "keyboard", keyboard_run, about, "flowpi keyboard test --dry-run", "flowpi keyboard -v")
    help = "write the configuration of flowpi-keyboard.service, and end"
    keyboard.add_argument("--hand-over", metavar="DIR", help=help)
    actions = keyboard.add_subparsers(title="actions; without one: be the service", metavar="ACTION")
    about = "make this machine a USB keyboard, for flowpi-gadget.service"
    sub = _add(actions, "gadget", keyboard_gadget, about, "sudo flowpi keyboard gadget up")
    about = "up; down; wanted: end with 0 if the configuration wants one"
    sub.add_argument("action", metavar="ACTION", choices=["up", "down", "wanted"], help=about)
    example = "flowpi keyboard test --dry-run --layout de 'Grüße!'"
    sub = _add(actions, "test", keyboard_test, "type a text, or show its keys", example)
    sub.add_argument("text", metavar="TEXT", nargs="?", help="what to type; default: what differs between layouts")
    sub.add_argument("--dry-run", action="store_true", help="print the keys instead")
    sub.add_argument("--layout", metavar="NAME", help="this layout; default: that of the configuration")
    sub.add_argument("--variant", metavar="NAME", default="", help="this variant of it")
    sub.add_argument("--json", action="store_true", help="the keys for a program")


def _add_clients(to: Commands) -> None:
    sub = _add(to, "record", record, "act as the button", "flowpi record start", "flowpi record stop --wait")
    actions = ["start", "stop", "toggle", "cancel"]
    sub.add_argument("action", metavar="ACTION", choices=actions, help=f"one of: {', '.join(actions)}")
    sub.add_argument("--wait", action="store_true", help="with stop or toggle: print the text of the dictation it ends")
    about = "with start or toggle: dictate with this one of `profiles`"
    sub.add_argument("--profile", metavar="NAME", help=about)
    about = "print messages as JSON lines"
    examples = ("flowpi listen --text --since 2h", "flowpi listen -n 1 --format '{started_at} {text}' transcript/final")
    sub = _add(to, "listen", listen, about, *examples)
    sub.add_argument("filters", metavar="FILTER", nargs="*", help="an MQTT topic filter; default: all topics but level")
    sub.add_argument("-n", "--count", metavar="COUNT", type=_count, help="stop after so many messages")
    about = f"the final texts since then first, in order: {PERSON_FORMS}"
    sub.add_argument("--since", metavar="TIME", help=about)
    shape = sub.add_mutually_exclusive_group()
    shape.add_argument("--text", action="store_true", help="final texts only, one a line; takes no FILTER")
    about = "json; text: what has a text, as one line; or a template such as '{id} {text}'; default: json"
    shape.add_argument("--format", metavar="FORMAT", default="json", help=about)
    sub = _add(to, "last", last, "the last texts, oldest first", "flowpi last", "flowpi last 20 --json")
    sub.add_argument("number", metavar="N", nargs="?", type=_count, default=1, help="how many; default: 1")
    sub.add_argument("--json", action="store_true", help="for a program")
    sub = _add(to, "status", status, "what the daemon is doing", "flowpi status --json")
    sub.add_argument("--json", action="store_true", help="for a program")
    sub.add_argument("--follow", action="store_true", help="again at every change")
    about = "sound files to text, through the configured backends"
    examples = ("flowpi transcribe interview.flac > interview.txt", "flowpi transcribe -f srt --to . talk.mp3 song.ogg")
    sub = _add(to, "transcribe", transcribe, about, *examples)
    sub.add_argument("files", metavar="FILE", nargs="+", help="WAV, FLAC, Ogg, MP3 and more; - for the standard input")
    about = f"one of: {', '.join(FORMATS)}; default: txt. All but txt have times, at phrases"
    sub.add_argument("-f", "--format", metavar="FORMAT", choices=list(FORMATS), default="txt", help=about)
    about = "a file in DIR for each, with its name and the format as extension; default: print them"
    sub.add_argument("--to", metavar="DIR", help=about)
    sub.add_argument("--backend", metavar="NAME", help="this one only")


def _count(text: str) -> int:
    """Return the number of an option. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _add_spool(to: Commands) -> None:
    spool = _add_group(to, "spool", "the utterances that are not delivered yet", "flowpi spool list")
    actions = spool.add_subparsers(title="actions", metavar="ACTION", required=True)
    sub = _add(actions, "list", spool_list, "what waits, since when and why", "flowpi spool list --json")
    sub.add_argument("--json", action="store_true", help="for a program")
    _add(actions, "retry", spool_retry, "try now; also what no backend took", "flowpi spool retry")
    about = "the sound of each as a WAV; the spool keeps it"
    sub = _add(actions, "export", spool_export, about, "sudo flowpi spool export --to /tmp/sound")
    sub.add_argument("--to", metavar="DIR", default=".", help="where to; default: the present directory")
    sub = _add(actions, "drop", spool_drop, "delete for good", "flowpi spool drop 01KAJ6N8C1D2E3F4G5H6J7K8MN.1")
    sub.add_argument("--all", action="store_true", help="everything that waits")
    for name in ("retry", "export", "drop"):
        actions.choices[name].add_argument(
            "ids", metavar="ID", nargs="*", help="as `spool list` shows it; a bare ULID means all its parts"
        )


def _add_sinks(to: Commands) -> None:
    about = "where texts go, how far each sink is, and what it refused"
    sub = _add(to, "sinks", sinks, about, "flowpi sinks", "flowpi sinks list --json", "flowpi sinks retry mqtt")
    actions = ["list", "retry", "skip"]
    about = "list; retry: try now, also what is parked; skip: park what blocks, else forget what is parked"
    sub.add_argument("action", metavar="ACTION", nargs="?", default="list", choices=actions, help=about)
    sub.add_argument("names", metavar="SINK", nargs="*", help="a name in the list; default, but for skip: all")
    sub.add_argument("--json", action="store_true", help="the list for a program")


def _add_checks(to: Commands) -> None:
    sub = _add(to, "doctor", doctor, "one finding per fault, each with what mends it", "sudo flowpi doctor")
    sub.set_defaults(reads_config=False)  # a wrong configuration is a finding too
    sub.add_argument("--json", action="store_true", help="for a program")
    mode = sub.add_mutually_exclusive_group()
    mode.add_argument("--panel", action="store_true", help="ask for a press of the button, and whether the LED flashed")
    mode.add_argument("--calibrate", action="store_true", help="find a good level of the microphone, by speaking")
    about = "show a pattern on the LED, until Ctrl-C; with none, list them"
    sub = _add(to, "light", light, about, "flowpi light listening")
    sub.add_argument("pattern", metavar="PATTERN", nargs="?", help="a name in the list")
    sub.set_defaults(reads_config=False)  # the LED must work with a wrong configuration, too


def _add_installation(to: Commands) -> None:
    about = "make a service of it on this machine, as root"
    sub = _add(to, "setup", setup, about, "flowpi setup --dry-run", "sudo /opt/flowpi/bin/flowpi setup")
    sub.set_defaults(reads_config=False)
    sub.add_argument("--root", metavar="DIR", help="in the image of a machine, whose root DIR is; nothing is started")
    sub.add_argument("--dry-run", action="store_true", help="show what it would do")
    sub.add_argument("--remove", action="store_true", help="take it back; configuration and dictations stay")
    sub.add_argument("--purge", action="store_true", help="with --remove: delete these too")
    about = "only make the USB controller of a Raspberry Pi a device, by a line in config.txt"
    sub.add_argument("--usb-keyboard", action="store_true", help=about)
    about = "take over a configuration that was left on the boot partition"
    sub = _add(to, "provision", provision, about, "sudo flowpi provision --boot /media/bootfs")
    sub.add_argument("--boot", metavar="DIR", help="the boot partition; default: /boot/firmware, else /boot")
    sub.add_argument("--etc", metavar="DIR", help="where the configuration goes; default: /etc/flowpi")
    sub.set_defaults(reads_config=False)


def _add_config(to: Commands) -> None:
    config = _add_group(to, "config", "look at the configuration", "flowpi config check")
    actions = config.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add(actions, "check", config_check, "validate", "flowpi config check -c new.yaml")
    _add(
        actions, "show", config_show, "the effective tree, secrets masked", "flowpi config show -o board=respeaker-2mic"
    )
    sub = _add(actions, "schema", config_schema, "JSON Schema of the file", "flowpi config schema > flowpi.schema.json")
    sub.set_defaults(reads_config=False)


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
    arguments = parser().parse_args(argv, Arguments())
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
    if getattr(arguments, "hand_over", None):  # an error is handed over, too
        handing: dict[Command, Command] = {hook: hook_hand_over, keyboard_run: keyboard_hand_over}
        arguments.command = handing.get(arguments.command, hand_over)
        arguments.reads_config = False
    elif arguments.command is hook and arguments.action == "run":
        arguments.command, arguments.reads_config = hook_run, True
    elif arguments.command is keyboard_gadget:
        arguments.reads_config = arguments.action == "wanted"  # the unit must take down what it made
    # These options are settings with a shorter name. As overrides they are checked like any other; `explain` says it in
    # the words of the command line.
    if getattr(arguments, "listen", None):
        arguments.overrides.append(f"server.listen={json.dumps(arguments.listen)}")
    if getattr(arguments, "backend", None):
        arguments.overrides.append(f"dictation.backends={json.dumps([arguments.backend])}")
    return arguments


def explain(error: ConfigError, arguments: Arguments) -> FlowpiError:
    """Return what is wrong with the configuration, or with the option that was typed for that setting."""
    if error.file != "--set":
        return error
    if error.key.startswith("server.listen") and getattr(arguments, "listen", None):
        return UsageError(f"--listen {error.problem}", error.hint)
    if error.key.startswith("dictation.backends") and getattr(arguments, "backend", None):
        return UsageError(f"there is no backend for `--backend {arguments.backend}`", error.hint)
    return error
