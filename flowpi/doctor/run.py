"""Runs all checks of the doctor at once, and prints the findings."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import msgspec

from flowpi.backends.chain import make_backends
from flowpi.config.schema import Config
from flowpi.core.errors import FlowpiError, NoPermissionError
from flowpi.doctor import (
    backends,
    clock,
    disk,
    keyboard,
    microphone,
    model,
    panel,
    permissions,
    power,
    sinks,
    sockets,
    sound_cards,
    texts,
    units,
    wifi,
)
from flowpi.doctor.findings import EXIT_CODES, Finding
from flowpi.host import boot_config_status

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""The time limit of one check. Most need a second on a Pi; a check on a busy machine must not look stuck."""

BACKENDS_S = 45.0
"""The time limit for the backends: as long as a dictation would wait for a session of each."""

Look = Callable[[], list[Finding]]

P = ParamSpec("P")
T = TypeVar("T")


def doctor(
    read: Callable[[], Config], *, path: str | None = None, as_json: bool = False, with_person: bool = False
) -> int:
    """Print the findings; return 0 if nothing is wrong, 1 for warnings, 2 for failures.

    Args:
        read: returns the configuration, or raises FlowpiError; then the checks that need it are skipped.
        path: the configuration file, if there is one.
        as_json: print the findings as JSON.
        with_person: ask the user to press the button and to look at the LED.

    Raises:
        UsageError: `with_person` is set, but there is no terminal.
    """
    try:
        config = read()
        make_backends(config)  # what it does not accept, the daemon does not
    except FlowpiError as error:
        findings = [unusable(error), *asyncio.run(examine_without())]
    else:
        asked = panel.ask_person(config) if with_person else []
        findings = asyncio.run(examine(config, path)) + asked
    if as_json:
        print(json.dumps([msgspec.to_builtins(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            hint = f": {finding.hint}" if finding.hint else ""
            print(f"{finding.level:8} {finding.part}: {finding.message}{hint}")
    return max(EXIT_CODES[finding.level] for finding in findings)


async def examine(config: Config, path: str | None = None) -> list[Finding]:
    """Run all checks at once."""
    asyncio.get_running_loop().set_default_executor(Threads())  # a name lookup may hang
    looks: dict[str, Look] = {
        "microphone": lambda: microphone.examine(config),
        "sound cards": lambda: sound_cards.examine(config),
        "panel": lambda: panel.examine(config),
        "model": lambda: model.examine(config),
        "disk": lambda: disk.examine(config),
        "permissions": lambda: permissions.examine(config, path),
        "clock": clock.examine,
        "units": lambda: units.examine(config),
        "sockets": lambda: sockets.examine(config),
        "sinks": lambda: sinks.examine(config),
        "keyboard": lambda: keyboard.examine(config),
        "power": power.examine,
        "wifi": wifi.examine,
        "configuration": boot_file,
    }
    asked = [on_thread(part, look) for part, look in looks.items()]
    found = await asyncio.gather(_backends(config), texts.examine(config), *asked)
    return [finding for findings in found for finding in findings]


async def examine_without() -> list[Finding]:
    """Run the checks that need no configuration."""
    looks: dict[str, Look] = {
        "clock": clock.examine,
        "units": lambda: units.examine(Config()),
        "sockets": lambda: sockets.examine(Config()),
        "power": power.examine,
        "wifi": wifi.examine,
        "configuration": boot_file,
    }
    found = await asyncio.gather(*(on_thread(part, look) for part, look in looks.items()))
    return [finding for findings in found for finding in findings]


def unusable(error: FlowpiError) -> Finding:
    """Return the finding for a configuration that cannot be used."""
    hint = error.hint or "see `flowpi config check`"
    if isinstance(error, NoPermissionError):
        return Finding("configuration", "warning", "unreadable", error.message, "run it as root (sudo flowpi doctor)")
    return Finding("configuration", "failure", "configuration", error.message, hint)


def boot_file() -> list[Finding]:
    """Return a finding if the user's configuration on the boot partition was refused."""
    if (why := boot_config_status.read(boot_config_status.RUN)) is None:
        return []
    hint = "correct it there, then `sudo systemctl restart flowpi-provision flowpi`; flowpi-error.txt says the same"
    return [Finding("configuration", "failure", "boot_file", f"the one on the boot partition is not used: {why}", hint)]


async def _backends(config: Config) -> list[Finding]:
    try:
        async with asyncio.timeout(BACKENDS_S):
            return await backends.examine_backends(config)
    except TimeoutError:
        return [_hangs("backends", BACKENDS_S)]


async def on_thread(part: str, look: Look, patience_s: float = PATIENCE_S) -> list[Finding]:
    """Run one check on a thread and return its findings; the thread of a check that hangs ends with the program."""
    try:
        async with asyncio.timeout(patience_s) as patience:
            return await asyncio.get_running_loop().run_in_executor(Threads(), look)
    except Exception as error:  # a check that fails must not hide the findings of the others
        if patience.expired():
            return [_hangs(part, patience_s)]
        log.info("the check of %s failed", part, exc_info=error)
        what = f"internal error ({type(error).__name__})"
        return [Finding(part, "warning", "internal", what, "please report it, with what `flowpi doctor -v` shows")]


class Threads(ThreadPoolExecutor):
    """An executor with a daemon thread for each call, so that a stuck call does not keep the program from ending."""

    def submit(self, call: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> Future[T]:
        ended = Future[T]()

        def run() -> None:
            try:
                ended.set_result(call(*args, **options))
            except BaseException as error:
                ended.set_exception(error)

        ended.set_running_or_notify_cancel()
        threading.Thread(target=run, name="doctor", daemon=True).start()
        return ended


def _hangs(part: str, patience_s: float) -> Finding:
    hint = "see `dmesg` and `journalctl -u flowpi`; what is stuck may need to be plugged in again, or a restart"
    return Finding(part, "failure", "hangs", f"gave no answer within {patience_s:g} s", hint)
