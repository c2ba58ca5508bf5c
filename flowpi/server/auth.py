"""Authentication: organisations by API key (Flow), partners by partner token (Suki), others by a token from these.

Theory of operation. With no key set at all the server is open: it accepts any key, or none, and must listen only where
this machine alone reaches it. With any key set it is locked: a service without keys accepts no client.

A token is a JWT, signed with a key that exists as long as the process: after a restart clients need a new token. A
token is checked when a session begins; an open session outlives its token (neither service documents this case).

No error of this module quotes a key.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jwt

Service = Literal["flow", "suki"]

ALGORITHM = "HS256"
"""The algorithm in the header of the sample token (W3)."""

NEVER_VALID = secrets.token_hex()


class KeyRefused(Exception):
    """A key or token that is not accepted; `str()` is the reason."""


class Authenticator:
    """The keys of a server.

    Args:
        api_keys: the keys of organisations.
        partners: the partner token of each partner id.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        api_keys: Sequence[str] = (),
        partners: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api_keys = [key.encode() for key in api_keys]
        self._partners = dict(partners or {})
        self._clock = clock
        self._signing_key = secrets.token_bytes(32)

    @property
    def is_open(self) -> bool:
        """Whether no key is set, so that every client is accepted."""
        return not self._api_keys and not self._partners

    def check_api_key(self, key: str | None) -> None:
        """Raise KeyRefused unless `key` is the key of an organisation, or the server is open."""
        if self.is_open:
            return
        if not key:
            raise KeyRefused("API key is missing")
        given = key.encode("utf-8", "surrogatepass")
        if sum(hmac.compare_digest(given, each) for each in self._api_keys) == 0:  # compare with all: constant time
            raise KeyRefused("Invalid API key")

    def check_partner(self, partner_id: str, token: str) -> None:
        """Raise KeyRefused unless `token` is the partner's token, or the server is open."""
        if self.is_open:
            return
        right = self._partners.get(partner_id, NEVER_VALID)
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), right.encode()):
            raise KeyRefused("partner_token: not valid for this partner_id")

    def issue(self, service: Service, duration_s: int, claims: Mapping[str, Any]) -> str:
        """Return a new signed token that carries `claims`; `check_token` returns them."""
        now_s = int(self._clock())
        stamps = {"aud": service, "iat": now_s, "exp": now_s + duration_s}
        return jwt.encode({**claims, **stamps}, self._signing_key, ALGORITHM)

    def check_token(self, service: Service, token: str | None) -> dict[str, Any]:
        """Return the claims of a token that this server issued; an open server returns {} for any other token.

        Raises:
            KeyRefused: the token is missing, forged, for the other service, or has expired.
        """
        if not token and not self.is_open:
            raise KeyRefused("Token is missing")
        try:
            claims: dict[str, Any] = jwt.decode(
                token or "",
                self._signing_key,
                [ALGORITHM],
                audience=service,
                options={"require": ["exp"], "verify_exp": False, "verify_iat": False},  # by our own clock, below
            )
        except (jwt.InvalidTokenError, UnicodeError):
            if self.is_open:
                return {}
            raise KeyRefused("Invalid token") from None
        if claims["exp"] <= self._clock() and not self.is_open:
            raise KeyRefused("Token has expired")  # W2
        return claims
