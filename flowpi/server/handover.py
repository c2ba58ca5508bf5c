"""Hands the recogniser its part of the configuration, because its user must not read the rest.

`/etc/flowpi` may hold secrets of the daemon, in `flowpi.yaml` and in files beside it, so the user of flowpi-asr.service
cannot enter it. Before each start the unit runs `flowpi serve --hand-over DIRECTORY` as the user flowpi. This writes
the section `server` to a directory that the recogniser reads and cannot write. The keys and the certificate that the
section names as files are handed over with it, as these are files for the group flowpi.

Clients look for the recogniser's sockets in the directory of the daemon's, where the recogniser cannot make any. So it
is told to make them in a directory of its own, and clients find links.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from flowpi.config.loading import to_yaml
from flowpi.config.schema import Config, ServerSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import FlowpiError
from flowpi.host import handover
from flowpi.host.paths import RECOGNISERS_RUNTIME, SYSTEM_RUNTIME
from flowpi.server.listeners import UnixAddress, link_unix, parse_address
from flowpi.server.tls import load_tls

CERTIFICATE, KEY = "certificate.pem", "key.pem"

HEAD = "# The section `server`, as `flowpi serve --hand-over` found it at the last start of flowpi-asr.\n"


def hand_over(
    load: Callable[[], Config],
    directory: Path,
    *,
    sockets: Path = RECOGNISERS_RUNTIME,
    links: Path = SYSTEM_RUNTIME,
) -> None:
    """Put the recogniser's part of the configuration, or what is wrong with it, in the place of what was there.

    Args:
        load: returns the configuration, or raises FlowpiError.
        directory: its group is that of the recogniser's user.
        sockets: the directory in which the recogniser makes its sockets.
        links: the directory in which clients look for them.

    Raises:
        CannotCreateError: nothing can be written there.
    """
    try:
        server = load().server
        listen = [_moved(address, links, sockets) for address in server.listen]
        files = _files(msgspec.structs.replace(server, listen=tuple(listen)), directory)
    except FlowpiError as error:
        files = {handover.ERROR: handover.encoded(error)}
    handover.write(directory, files, (CERTIFICATE, KEY))


def _moved(address: str, links: Path, sockets: Path) -> str:
    """Return an address with `sockets` in the place of `links`, where a link is made; any other address as it is."""
    parsed = parse_address(address)
    if not isinstance(parsed, UnixAddress) or parsed.path.parent != links:
        return address
    link_unix(parsed.path, sockets / parsed.path.name)
    return f"unix:{sockets / parsed.path.name}"


def _files(server: ServerSettings, directory: Path) -> dict[str, bytes]:
    """Return the content of the files to hand over by name. Raises ConfigError."""
    files = dict[str, bytes]()
    if load_tls(server.tls) and server.tls.certificate and server.tls.key:
        files = {CERTIFICATE: Path(server.tls.certificate).read_bytes(), KEY: Path(server.tls.key).read_bytes()}
        tls = msgspec.structs.replace(server.tls, certificate=f"{directory}/{CERTIFICATE}", key=f"{directory}/{KEY}")
        server = msgspec.structs.replace(server, tls=tls)
    tree = msgspec.to_builtins(server, enc_hook=_secret)
    return {**files, handover.CONFIG: (HEAD + to_yaml({"server": tree})).encode()}


def _secret(secret: Secret) -> str | dict[str, str]:
    """Return a secret as a value of the configuration: a file's content in its place, a credential by its name."""
    masked = secret.masked()
    return secret.resolve() if isinstance(masked, str) or "file" in masked else masked
