"""The commands as functions `command(arguments, config) -> exit code`, for `parser.py`.

Each imports what it needs when it is called: `status` does not pay for numpy, nor `run` for aiohttp.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from flowpi.core.errors import UsageError
from flowpi.core.nearest import nearest
from flowpi.core.safe_text import printable

if TYPE_CHECKING:
    from flowpi.config.schema import Config


class Arguments(SimpleNamespace):
    """What a command line says. Besides these attributes there are the command's own options.

    Attributes:
        command: the function of the command.
        reads_config: whether the command needs a valid configuration.
        config: the file of the configuration, if one was named.
        overrides: settings as KEY=VALUE.
        verbosity: the number of `-v`.
    """

    command: "Command"
    reads_config: bool
    config: str | None
    overrides: list[str]
    verbosity: int


Command = Callable[[Arguments, "Config"], int]


def show_help(arguments: Arguments, config: "Config") -> int:
    """Print the help of `flowpi` for whoever types that alone."""
    from flowpi.cli.parser import parser

    parser().print_help()
    return 0


def run(arguments: Arguments, config: "Config") -> int:
    import logging

    from flowpi.appliance.daemon import run
    from flowpi.config.loading import config_path, load, warnings
    from flowpi.host.systemd import Notifier

    for warning in warnings(config, config_path(arguments.config), arguments.overrides):
        logging.getLogger(__name__).warning(warning)
    return run(config, Notifier(), lambda: load(arguments.config, arguments.overrides))


def serve(arguments: Arguments, config: "Config") -> int:
    import logging

    from flowpi.config.loading import config_path, warnings
    from flowpi.host.systemd import Notifier
    from flowpi.server.service import serve

    for warning in warnings(config, config_path(arguments.config), arguments.overrides):
        logging.getLogger(__name__).warning(warning)
    return serve(config.server, Notifier())


def hand_over(arguments: Arguments, config: "Config") -> int:
    from pathlib import Path

    from flowpi.config.loading import load
    from flowpi.server.handover import hand_over

    hand_over(partial(load, arguments.config, arguments.overrides), Path(arguments.hand_over))
    return 0


def hook_run(arguments: Arguments, config: "Config") -> int:
    from flowpi.hook.service import hook
    from flowpi.host.systemd import Notifier

    return hook(config, Notifier())


def hook_hand_over(arguments: Arguments, config: "Config") -> int:
    return _hand_over_to("command", arguments)


def keyboard_hand_over(arguments: Arguments, config: "Config") -> int:
    return _hand_over_to("keyboard", arguments)


def _hand_over_to(sink: str, arguments: Arguments) -> int:
    """Return 1 if the sink is not configured, by which its unit is not started."""
    from pathlib import Path

    from flowpi.config.loading import load
    from flowpi.peer.handover import hand_over

    wanted = hand_over(sink, partial(load, arguments.config, arguments.overrides), Path(arguments.hand_over))
    return 0 if wanted else 1


def hook(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.hook import hook

    return hook(arguments.action, as_json=arguments.json)


def keyboard_run(arguments: Arguments, config: "Config") -> int:
    from flowpi.host.systemd import Notifier
    from flowpi.keyboard.service import keyboard

    return keyboard(config, Notifier())


def keyboard_gadget(arguments: Arguments, config: "Config") -> int:
    """Return 1 for `wanted` if no USB keyboard is configured, by which the unit is not started."""
    from flowpi.keyboard import gadget

    if arguments.action == "wanted":
        return 0 if config.publish.keyboard.kind == "hid" else 1
    if arguments.action == "up":
        print(f"this machine is a USB keyboard, by the controller {gadget.up()}")
    else:
        gadget.down()
    return 0


def keyboard_test(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.keyboard import test

    return test(
        config.publish.keyboard,
        arguments.text,
        layout_named=(arguments.layout, arguments.variant),
        dry_run=arguments.dry_run,
        as_json=arguments.json,
    )


def demo(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.demo import demo

    return demo(config, wav=arguments.wav, microphone=arguments.mic)


def record(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.record import record

    return record(config, arguments.action, wait=arguments.wait, profile=arguments.profile)


def listen(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.listen import listen

    return listen(
        config,
        filters=arguments.filters,
        text_only=arguments.text,
        count=arguments.count,
        form=arguments.format,
        since=arguments.since,
    )


def last(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.last import last

    return last(config, arguments.number, as_json=arguments.json)


def status(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.status import status

    return status(config, as_json=arguments.json, follow=arguments.follow)


def transcribe(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.transcribe import transcribe

    return transcribe(config, arguments.files, form=arguments.format, to=arguments.to)


def doctor(arguments: Arguments, config: "Config") -> int:
    from flowpi.config.loading import config_path, load

    if arguments.calibrate:
        from flowpi.doctor.calibration import calibrate

        return calibrate(load(arguments.config, arguments.overrides))
    from flowpi.doctor.run import doctor

    path = config_path(arguments.config)
    read = partial(load, arguments.config, arguments.overrides)
    return doctor(read, path=path, as_json=arguments.json, with_person=arguments.panel)


def provision(arguments: Arguments, config: "Config") -> int:
    from pathlib import Path

    from flowpi.host import boot_config_status
    from flowpi.provision import apply

    boots = [Path(arguments.boot)] if arguments.boot else [Path(boot) for boot in apply.BOOT]
    elsewhere = arguments.boot or arguments.etc  # then it concerns another root, unless systemd started it
    run = os.environ.get("RUNTIME_DIRECTORY") or (None if elsewhere else boot_config_status.RUN)
    return apply.provision(boots, Path(arguments.etc or apply.ETC), Path(run) if run else None)


def spool_list(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.spool import spool_list

    return spool_list(config, as_json=arguments.json)


def spool_retry(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.spool import spool_retry

    return spool_retry(config, arguments.ids)


def spool_export(arguments: Arguments, config: "Config") -> int:
    from pathlib import Path

    from flowpi.cli.spool import spool_export

    return spool_export(config, arguments.ids, Path(arguments.to))


def spool_drop(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.spool import spool_drop

    return spool_drop(config, arguments.ids, everything=arguments.all)


def sinks(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.sinks import sinks

    return sinks(config, arguments.action, arguments.names, as_json=arguments.json)


def light(arguments: Arguments, config: "Config") -> int:
    from flowpi.cli.light import NAMES, draw, show

    if arguments.pattern is None:
        return draw()
    if arguments.pattern not in NAMES:
        raise UsageError(f"there is no pattern {arguments.pattern!r}", nearest(arguments.pattern, NAMES))
    return show(arguments.pattern, arguments.config, arguments.overrides)


def setup(arguments: Arguments, config: "Config") -> int:
    if arguments.usb_keyboard:
        from flowpi.setup.usb_keyboard import usb_keyboard

        if arguments.remove or arguments.purge:
            raise UsageError("--usb-keyboard is not for --remove", "take the line out of config.txt by hand")
        return usb_keyboard(root=arguments.root or "", dry_run=arguments.dry_run)
    from flowpi.setup.command import setup

    return setup(root=arguments.root, dry_run=arguments.dry_run, remove=arguments.remove, purge=arguments.purge)


def config_check(arguments: Arguments, config: "Config") -> int:
    """Print the warnings about a configuration that `load` has accepted."""
    from flowpi.backends.chain import make_backends
    from flowpi.config.loading import config_path, warnings

    make_backends(config)  # a configuration with which the daemon would not start must not pass here
    path = config_path(arguments.config)
    for warning in warnings(config, path, arguments.overrides):
        print("flowpi: warning:", printable(warning, None), file=sys.stderr)
    print(f"{path or 'built-in defaults'}: ok")
    return 0


def config_show(arguments: Arguments, config: "Config") -> int:
    from flowpi.config.loading import masked, to_yaml

    print(to_yaml(masked(config)), end="")
    return 0


def config_schema(arguments: Arguments, config: "Config") -> int:
    import json

    from flowpi.config.loading import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
