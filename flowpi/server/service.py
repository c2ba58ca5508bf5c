"""`flowpi serve`: runs the transcription server as a process until SIGTERM or SIGINT."""

import asyncio
import contextlib
import signal

from flowpi.config.schema import ServerSettings
from flowpi.core.errors import EngineUnavailable
from flowpi.host.cpus import usable_cpus
from flowpi.host.systemd import Notifier
from flowpi.server.model_files import Models


def serve(config: ServerSettings, notifier: Notifier) -> int:
    """Run the server until a signal ends it, and return the exit code.

    Raises:
        EngineUnavailable: the extra with the recogniser is not installed.
        ConfigError: a key, or a file of `tls`, cannot be read.
        UsageError, CannotCreateError: an address is wrong, or the server cannot listen on it.
    """
    try:
        from flowpi.server import app, auth, connections, tls
    except ImportError as error:
        raise EngineUnavailable(
            f"the server's packages are not installed ({error.name})", "pip install 'flowpi[local]'"
        ) from None

    keys = auth.Authenticator(
        [secret.resolve() for secret in config.api_keys],
        {partner_id: secret.resolve() for partner_id, secret in config.partners.items()},
    )
    context = tls.load_tls(config.tls)
    sessions = config.max_sessions
    if sessions == "auto":
        sessions = connections.default_sessions(usable_cpus())

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await app.serve(
            config.listen,
            config.engine,
            Models(config.model, config.interim_model, config.languages),
            access=keys,
            tls=context,
            strict=config.strict,
            max_sessions=sessions,
            vocabulary=config.vocabulary,
            ready=notifier.ready,
            status=notifier.status,
        )

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())
    notifier.stopping()
    return 0
