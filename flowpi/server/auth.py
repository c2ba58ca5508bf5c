"""Who may use the server: organisations by their key (Flow), partners by theirs (Suki), others by a token of these.

Theory of operation. With no key set at all the server is open: it takes any key, or none, and must listen where only
this machine reaches it. With any set, it is locked: a service for which none is set accepts nobody.

A token is a JWT, signed with a key that lives as long as the process: after a restart clients get a new one. It counts
when a session begins; a session that is open outlives it (no page of either service says what happens then).

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
"""W3: what the header of the sample token says."""

NEVER_VALID = secrets.token_hex()


class KeyRefused(Exception):
    """`str()` says what is wrong with the key."""


class Authenticator:
    """The keys of a server.

    Args:
        api_keys: of organisations.
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
        """No key is set: everybody may."""
        return not self._api_keys and not self._partners

    def check_api_key(self, key: str | None) -> None:
        """Raises KeyRefused."""
        if self.is_open:
            return
        if not key:
            raise KeyRefused("API key is missing")
        given = key.encode("utf-8", "surrogatepass")
        if sum(hmac.compare_digest(given, each) for each in self._api_keys) == 0:  # all of them: the time tells nothing
            raise KeyRefused("Invalid API key")

    def check_partner(self, partner_id: str, token: str) -> None:
        """Raises KeyRefused."""
        if self.is_open:
            return
        right = self._partners.get(partner_id, NEVER_VALID)
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), right.encode()):
            raise KeyRefused("partner_token: not valid for this partner_id")

    def issue(self, service: Service, duration_s: int, claims: Mapping[str, Any]) -> str:
        """A token. `claims`: what `check_token` gives back."""
        now_s = int(self._clock())
        stamps = {"aud": service, "iat": now_s, "exp": now_s + duration_s}
        return jwt.encode({**claims, **stamps}, self._signing_key, ALGORITHM)

    def check_token(self, service: Service, token: str | None) -> dict[str, Any]:
        """The claims of a token of this server; none where it is open and the token is no such.

        Raises:
            KeyRefused: it is missing, made up, for the other service, or has expired.
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
