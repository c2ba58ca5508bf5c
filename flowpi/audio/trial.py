"""An attempt that may never come back, on a thread of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


def begin(attempt: Callable[[], None]) -> "Future[None]":
    """Its result or its exception is handed over; nobody waits for it when the program ends, as an executor would."""
    trial: Future[None] = Future()

    def run() -> None:
        try:
            attempt()
        except BaseException as error:
            trial.set_exception(error)
        else:
            trial.set_result(None)

    threading.Thread(target=run, name="microphone", daemon=True).start()
    return trial
