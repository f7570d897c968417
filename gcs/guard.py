"""Who may talk to the station: host, origin, secret, media type and size of every request."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gcs.problems import ProblemError, problem_response

COOKIE = "mlkd_session"
MAX_BODY_BYTES = 64 * 1024
MAX_REQUESTS = 64
"""Requests at work at once; those that make the vehicle hover are not counted."""
ALWAYS_HEARD = ("/api/follow/override", "/api/tracking/stop")
"""Requests that make the vehicle hover: they need no body, and none that comes refuses them."""

OPEN_PATHS = ("/api/sign-in",)
MAX_FAILURES = 5
FAILURE_WINDOW_S = 30.0
MAX_ADDRESSES = 1024

FULL = ProblemError(
    503,
    "Too many requests at once",
    f"{MAX_REQUESTS} requests are at work",
    mend="send fewer at once",
)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Keeper:
    """Checks the shared secret; an address that guessed wrong a few times waits for a while.

    The right secret is never made to wait: another program of the same address, with a wrong one,
    must not keep the operator from an override. A secret is too long to be guessed even so.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember the secret; None lets everybody in (loopback only)."""
        self._token = token
        self._session = secrets.token_urlsafe(32)
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def needed(self) -> bool:
        """True when a secret is asked for."""
        return self._token is not None

    def sign_in(self, token: str, address: str) -> str | None:
        """Exchange the secret for a session cookie's value; None when it is wrong.

        Raises:
            ProblemError: too many wrong ones came from this address lately.
        """
        if self._token is None or same(token, self._token):
            return self._session
        now = self._clock()
        failures = self._failures.get(address, deque())
        while failures and now - failures[0] > FAILURE_WINDOW_S:
            failures.popleft()
        if len(failures) >= MAX_FAILURES:
            wait_s = FAILURE_WINDOW_S - (now - failures[0])
            raise ProblemError(
                429, "Too many attempts", "too many wrong tokens", mend=f"wait {wait_s:.0f} s"
            )
        failures.append(now)
        self._failures[address] = failures
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return None

    def admits(self, headers: Headers, address: str) -> bool:
        """Tell whether a request carries the secret or a session of it.

        Raises:
            ProblemError: as `sign_in`.
        """
        if self._token is None:
            return True
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.sign_in(value.strip(), address) is not None:
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and same(cookie.value, self._session)


class Guard:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, keeper: Keeper, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._keeper = keeper
        self._at_work = 0
        self._hosts = {host.lower() for host in allowed_hosts} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ProblemError as error:
            await _refuse(scope, receive, send, error)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        counted = scope["path"] not in ALWAYS_HEARD
        self._at_work += counted
        try:
            if self._at_work > MAX_REQUESTS and counted:
                await _refuse(scope, receive, send, FULL)
            else:
                await self._app(scope, _bounded(receive), _with_headers(send))
        finally:
            self._at_work -= counted

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        self._check_host(host)
        writes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        check_origin(headers, host, scope["scheme"], writes, scope["path"])
        guarded = scope["path"].startswith("/api/") and scope["path"] not in OPEN_PATHS
        if guarded and not self._keeper.admits(headers, address_of(scope)):
            raise ProblemError(
                401,
                "Token needed",
                "this station asks for its token",
                expected="the header 'Authorization: Bearer TOKEN' or a session",
                mend="sign in on the page, or POST the token to /api/sign-in",
            )
        if scope["type"] == "http" and writes and scope["path"] not in ALWAYS_HEARD:
            check_body(headers)

    def _check_host(self, host: str) -> None:
        name = host_name(host)
        # An address cannot be rebound to another one by a hostile name server; a name can.
        if name not in self._hosts and not is_address(name):
            raise ProblemError(
                400,
                "Unknown host",
                "the Host header names no host of this station",
                received=host,
                expected="an address, localhost or a name of allowed_hosts",
                mend="add the name to the setting allowed_hosts",
            )


def address_of(connection: Scope) -> str:
    """The other side's address."""
    client = connection.get("client")
    return str(client[0]) if client else ""


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_address(name: str) -> bool:
    """Tell whether a host is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def same(given: str, wanted: str) -> bool:
    """Compare secrets in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def check_origin(headers: Headers, host: str, scheme: str, writes: bool, path: str) -> None:
    """Refuse what another site's page sends; programs send neither header and pass.

    Raises:
        ProblemError: the request comes from another origin.
    """
    origin = headers.get("origin")
    secure = "https" if scheme in ("https", "wss") else "http"
    own = f"{secure}://{host}".lower()
    site = headers.get("sec-fetch-site", "none")
    foreign = path.startswith("/api/") and site not in ("none", "same-origin")
    if foreign or (writes and origin is not None and origin.lower() != own):
        raise ProblemError(
            403,
            "Foreign origin",
            "the request comes from a page of another origin",
            received=origin or site,
            expected=own,
            mend="open the station's own page",
        )


def check_body(headers: Headers) -> None:
    """Refuse a body that is no JSON or too large by its own header.

    Raises:
        ProblemError: 415 or 413.
    """
    length = headers.get("content-length", "0")
    empty = length == "0" and "transfer-encoding" not in headers
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (empty and not media):
        raise ProblemError(
            415,
            "Unsupported media type",
            "the body is not declared as JSON",
            received=media or "no Content-Type",
            expected="application/json",
            mend="send the header Content-Type: application/json",
        )
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise ProblemError(
            413,
            "Body too large",
            "the body is larger than any request needs",
            received=length,
            expected=f"at most {MAX_BODY_BYTES} bytes",
            mend="send one small JSON object",
        )


def _bounded(receive: Receive) -> Receive:
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send, error: ProblemError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": error.problem.title})
        return
    headers = {"WWW-Authenticate": "Bearer"} if error.problem.status == 401 else None
    response = problem_response(error.problem, headers)
    await response(scope, receive, _with_headers(send))
