"""`flowpi keyboard`: types texts as a service, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import signal

from flowpi.config.schema import Config
from flowpi.core.errors import UsageError
from flowpi.host.paths import find_socket, keyboard_directory
from flowpi.host.systemd import Notifier
from flowpi.keyboard.chosen import layout_of, output_of
from flowpi.keyboard.marks import Marks
from flowpi.keyboard.typist import Typist
from flowpi.keyboard.worker import SINK, Keyboard
from flowpi.peer.reporter import Reporter
from flowpi.peer.standing import Standing


def keyboard(config: Config, notifier: Notifier) -> int:
    """Type texts until a signal ends it, and return the exit code. No key is down then.

    Raises:
        UsageError: no keyboard is configured.
        AlreadyRunning, CannotCreateError: its directory cannot be used.
    """
    settings = config.publish.keyboard
    if settings.kind == "none":
        raise UsageError("no keyboard is configured", "set publish.keyboard.kind to uinput or hid")
    marks = Marks(keyboard_directory())

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        socket, standing = find_socket(config), Standing()
        typist = Typist(output_of(settings), settings.pace_ms / 1000)
        passed_over = config.without_sink(SINK)
        worker = Keyboard(settings, socket, marks, standing, typist, layout_of(settings), passed_over=passed_over)
        asked_for = {"cancel": worker.cancel, "retry": worker.retry, "skip": worker.skip}
        reporter = Reporter(socket, standing.news, worker.report, asked_for)
        notifier.ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(), name="worker")
            tasks.create_task(reporter.run(), name="reporter")

    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(main())
    finally:
        marks.close()
    notifier.stopping()
    return 0
