"""Who asks, and what they may do: tokens, sessions, the header of a proxy that signs people in.

A session is a cookie that we signed; nothing is stored, so every replica with the same token
accepts it. Whoever comes with a cookie or by a proxy must prove for each action that the page was
ours (CSRF); a bearer token proves that by itself, since no browser sends it unasked.
"""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address, ip_network

from starlette.requests import HTTPConnection

from reconciler.runtime.clock import Clock
from reconciler.settings import WebSettings

COOKIE = "reconciler_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who signed in.

    Attributes:
        name: for people.
        csrf: what their actions must carry; None where a bearer token proves enough.
    """

    name: str
    csrf: str | None = None


class Access:
    """Tells who asks."""

    def __init__(self, settings: WebSettings, clock: Clock) -> None:
        self._token = settings.token.get_secret_value() if settings.token else None
        self._header = settings.user_header
        self._proxies = tuple(ip_network(one, strict=False) for one in settings.trusted_proxies)
        self._key = sha256(f"reconciler session {self._token}".encode()).digest()
        if self._token is None:
            self._key = secrets.token_bytes(32)
        self._clock = clock
        self.private = settings.private
        self.can_sign_in = self._token is not None

    def user(self, request: HTTPConnection) -> User | None:
        """Return who asks; None for anybody."""
        scheme, _, word = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return User("token") if self.is_token(word.strip()) else None
        cookie = request.cookies.get(COOKIE, "")
        if cookie and self._is_valid(cookie):
            return User("signed in", self._sign("csrf", cookie))
        name = self._name_by_proxy(request)
        return None if name is None else User(name, self._sign("csrf", f"proxy {name}"))

    def is_token(self, word: str) -> bool:
        """Tell whether a word is the token; takes the same time whatever differs."""
        if self._token is None:
            return False
        return hmac.compare_digest(word.encode(), self._token.encode())

    def session(self) -> str:
        """Return the value of a new session's cookie."""
        end = int(self._clock.now().timestamp()) + SESSION_SECONDS
        value = f"{end}.{secrets.token_urlsafe(12)}"
        return f"{value}.{self._sign('session', value)}"

    def proves(self, user: User, given: str | None) -> bool:
        """Tell whether an action came from a page of ours."""
        if user.csrf is None:
            return True
        return given is not None and hmac.compare_digest(user.csrf.encode(), given.encode())

    def _is_valid(self, cookie: str) -> bool:
        value, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._sign("session", value).encode(), signature.encode()):
            return False
        end = value.partition(".")[0]
        return self._token is not None and int(end) > self._clock.now().timestamp()

    def _name_by_proxy(self, request: HTTPConnection) -> str | None:
        if self._header is None or request.client is None:
            return None
        name = request.headers.get(self._header, "").strip()
        try:
            peer = ip_address(request.client.host)
        except ValueError:
            return None
        return name if name and any(peer in network for network in self._proxies) else None

    def _sign(self, purpose: str, value: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{value}".encode(), sha256).hexdigest()
