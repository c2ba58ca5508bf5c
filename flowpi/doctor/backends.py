"""The check of the backends: each is asked for a session as in a dictation, but without audio."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

from flowpi.backends.backend import Backend
from flowpi.backends.chain import make_backends
from flowpi.config.backends.settings import BackendSettings
from flowpi.config.schema import Config
from flowpi.config.secret import Secret, secrets
from flowpi.core.errors import (
    BackendError,
    CredentialError,
    HttpError,
    LinkError,
    NotReached,
    NotResolved,
    ProtocolError,
    TlsError,
)
from flowpi.core.failover import concerns_key
from flowpi.doctor.findings import Finding, skipped

CREDENTIALS = Path("/run/credentials/flowpi.service")
"""The credentials that systemd gives to the running service; only the service and root can read them."""

ONLY_THE_SERVICE = "only the service has its key, while it runs: run it as root then (sudo flowpi doctor)"

RESOLVE_S = 3.0
"""The time limit for a name server; a slower one counts as not answering."""


async def examine_backends(config: Config) -> list[Finding]:
    """Return a finding for each backend in use, in order of preference.

    They are failures only if none works of those that are asked for some dictation, with or without a profile.
    """
    use_credentials()
    chain = make_backends(config)
    try:
        findings = await asyncio.gather(*(_examine(each, config.backends[each.name]) for each in chain.backends))
    finally:
        await chain.close()
    by_name = dict(zip((each.name for each in chain.backends), findings, strict=True))
    asked = [[by_name[each.name] for each in chain.of(profile)] for profile in (None, *config.profiles)]
    for useless in [some for some in asked if not any(finding.level == "ok" for finding in some)]:
        for finding in useless:
            finding.level = "failure"
    return findings


async def _examine(backend: Backend, settings: BackendSettings) -> Finding:
    part = f"backend {backend.name}"
    if any(map(is_the_services, secrets(settings))):
        return skipped(part, ONLY_THE_SERVICE)
    try:
        await backend.probe()
    except BackendError as error:
        code = await _code(error, settings.endpoint)
        message = error.message.removeprefix(f"backend {backend.name!r} ")
        return Finding(part, "warning", code, message, error.hint or _hint(code, backend.name))
    except Exception as error:  # a check that fails must not hide the findings of the others
        what = f"internal error ({type(error).__name__})"
        return Finding(part, "warning", "internal", what, "please report it, with what `flowpi doctor -v` shows")
    return Finding(part, "ok", "works", "works")


def use_credentials() -> None:
    """Use the credentials of the service that runs, if this user may read them."""
    if os.access(CREDENTIALS, os.R_OK | os.X_OK):
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(CREDENTIALS))


def is_the_services(key: tuple[tuple[str, ...], Secret]) -> bool:
    """Whether only the service can resolve the secret."""
    match key[1].kind:
        case "credential":
            return "CREDENTIALS_DIRECTORY" not in os.environ
        case "env":
            return key[1].name not in os.environ and CREDENTIALS.parent.is_dir()
        case _:
            return False


def _hint(code: str, name: str) -> str:
    return f"check the key of backends.{name}" if code == "key" else "see the journal of the service"


async def _code(error: BackendError, url: str) -> str:
    if concerns_key(error):
        return "key"
    match error:
        case CredentialError():
            return "key"
        case NotResolved():
            return "dns"
        case NotReached():
            return "route"
        case TlsError():
            return "tls"
        case HttpError(status=404 | 405):
            return "path"
        case HttpError():
            return "http"
        case ProtocolError():
            return "protocol"
        case LinkError() if not await _resolves(url):
            return "dns"
        case LinkError():
            return "route"
        case _:
            return "refused"


async def _resolves(url: str) -> bool:
    """Whether the host of the URL has an address: a timeout alone does not show whether DNS or the service is down."""
    host = urlsplit(url).hostname
    if not host:
        return True  # a Unix socket
    try:
        async with asyncio.timeout(RESOLVE_S):
            await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, TimeoutError):
        return False
    return True
