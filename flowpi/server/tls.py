"""The TLS context of the server, made from the configured certificate and key."""

import ssl
from collections.abc import Callable
from pathlib import Path

from flowpi.config.schema import TlsSettings
from flowpi.core.errors import ConfigError


def load_tls(config: TlsSettings) -> ssl.SSLContext | None:
    """Return the context for HOST:PORT addresses (TLS 1.2 or newer), or None if no certificate is set.

    Raises:
        ConfigError: a file cannot be read, or does not hold what its configuration key names.
    """
    if config.certificate is None or config.key is None:
        return None
    for key, path in (("certificate", config.certificate), ("key", config.key)):
        _check_file(key, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without this callback OpenSSL would ask for the password at the terminal.
        context.load_cert_chain(config.certificate, config.key, password=_no_password(config.key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _error(
                "key", f"is not the key of {config.certificate}", "give the one that it was made with"
            ) from None
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        hint = "both must be PEM, the certificate with its chain"
        raise _error("certificate", f"and server.tls.key cannot be used ({reason})", hint) from None
    return context


def _check_file(key: str, path: str) -> None:
    marks = {"certificate": b"-----BEGIN CERTIFICATE-----", "key": b"PRIVATE KEY-----"}
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _error(key, f"cannot read {path} ({reason})", "check the path, and who may read it") from None
    if marks[key] not in content:
        raise _error(key, f"{path} has no {'private key' if key == 'key' else key}", "name a PEM file") from None


def _no_password(path: str) -> Callable[[], str]:
    def ask() -> str:
        raise _error("key", f"{path} has a password", "remove it: openssl pkey -in FILE -out FILE")

    return ask


def _error(key: str, problem: str, hint: str) -> ConfigError:
    return ConfigError("configuration", None, f"server.tls.{key}", problem, hint)
