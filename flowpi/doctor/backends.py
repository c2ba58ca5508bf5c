"""The backends: each is asked for a session as a dictation asks, but with no audio."""

import asyncio
from urllib.parse import urlsplit

from flowpi.config import Config
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
from flowpi.dictation.backends import make_backends
from flowpi.dictation.link import Attempt
from flowpi.doctor.findings import Finding

RESOLVE_S = 3.0
"""A name server that takes longer is none."""


async def examine_backends(config: Config) -> list[Finding]:
    """A finding for each backend that is in use, best first. A failure only where none works."""
    backends = make_backends(config)
    try:
        urls = [config.backends[link.name].url for link in backends.links]
        findings = await asyncio.gather(*map(_examine, backends.links, urls))
    finally:
        await backends.close()
    if not any(finding.level == "ok" for finding in findings):
        for finding in findings:
            finding.level = "failure"
    return findings


async def _examine(link: Attempt, url: str) -> Finding:
    part = f"backend {link.name}"
    try:
        await link.probe()
    except BackendError as error:
        code = await _code(error, url)
        message = error.message.removeprefix(f"backend {link.name!r} ")
        return Finding(part, "warning", code, message, error.hint or _hint(code, link.name))
    except Exception as error:  # one that breaks must not hide what is said of the others
        what = f"internal error ({type(error).__name__})"
        return Finding(part, "warning", "internal", what, "please report it, with what `flowpi doctor -v` shows")
    return Finding(part, "ok", "works", "works")


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
    """Whether the name has an address. A mute name server looks like a mute service until one asks."""
    host = urlsplit(url).hostname
    if not host:
        return True  # a Unix socket
    try:
        async with asyncio.timeout(RESOLVE_S):
            await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, TimeoutError):
        return False
    return True
