"""`flowpi hook`: runs the program of the user as a service, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import signal

from flowpi.config.schema import Config
from flowpi.core.errors import UsageError
from flowpi.hook.command import adopt_orphans
from flowpi.hook.report import SINK, make_reporter
from flowpi.hook.state import HookState
from flowpi.hook.worker import Hook
from flowpi.host.paths import find_socket, hook_directory
from flowpi.host.systemd import Notifier
from flowpi.peer.standing import Standing

RETRY, SKIP = signal.SIGUSR1, signal.SIGUSR2
"""The signals by which `flowpi hook retry` and `skip` ask for that."""


def hook(config: Config, notifier: Notifier) -> int:
    """Run the hook until a signal ends it, and return the exit code. The text in whose run that happens comes again.

    Raises:
        UsageError: no program is configured.
        AlreadyRunning, CannotCreateError: its directory cannot be used.
    """
    settings = config.publish.command
    if settings.run is None:
        raise UsageError("there is no command to run", "set publish.command.run, such as [/usr/local/bin/note]")
    state = HookState(hook_directory())
    adopt_orphans()

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        socket, standing = find_socket(config), Standing()
        worker = Hook(settings, socket, state, standing, passed_over=config.without_sink(SINK))
        reporter = make_reporter(socket, state, standing, retry=worker.retry, skip=worker.skip)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        loop.add_signal_handler(RETRY, worker.retry)
        loop.add_signal_handler(SKIP, worker.skip)
        notifier.ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(), name="worker")
            tasks.create_task(reporter.run(), name="reporter")

    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(main())
    finally:
        state.close()
    notifier.stopping()
    return 0
