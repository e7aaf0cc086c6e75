"""HTTP requests and responses as values: what an orchestration's journal holds of an HTTP call.

Credentials
  A request carries headers that belong to the origin it was made for: those of :data:`CREDENTIALS`, and whatever the
  caller has marked. :meth:`HttpRequest.moved_to` is the only way to another URL, for redirects and polls alike, and it
  takes them out for good when the origin changes: a request that has been led away brings nothing along when it is led back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from .http_defaults import HTTP_RESPONSE_BYTES_MAX
from .http_url import checked_url, origin_of, resolved

CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-functions-key"})
"""Headers that are never sent to another origin, in lower case."""

_OF_CONTENT: Final = frozenset(
    {
        *("content-encoding", "content-language", "content-length", "content-location", "content-type"),
        *("expect", "transfer-encoding"),
    }
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_SEE_OTHER: Final = 303
_KEEPING_THE_METHOD: Final = (307, 308)
_REDIRECTS: Final = (301, 302, _SEE_OTHER, *_KEEPING_THE_METHOD)


@frozen
class HttpHeaders(Mapping[str, str]):
    """Headers by name, without regard to case.

    A header that came several times has its values joined by commas; :meth:`get_all` has them one by one.

    Attributes:
      fields: names and values as they came, in order.
    """

    fields: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.fields))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.fields})

    def get_all(self, name: str) -> list[str]:
        """Each value of a header, in order."""
        wanted = name.lower()
        return [value for each, value in self.fields if each.lower() == wanted]

    def without(self, names: Iterable[str]) -> HttpHeaders:
        """The others; names are in lower case."""
        unwanted = frozenset(names)
        return HttpHeaders(tuple((name, value) for name, value in self.fields if name.lower() not in unwanted))


@frozen
class HttpResponse:
    """What a server answered; an error status is an answer too.

    Attributes:
      status_code: such as 200.
      headers: its headers.
      content: its body.
      url: the URL that answered in the end, after polls and redirects.
    """

    status_code: int
    headers: HttpHeaders = field(repr=lambda headers: f"<{len(headers)} headers>")
    content: bytes = field(repr=lambda content: f"<{len(content)} bytes>")
    url: str

    @property
    def text(self) -> str:
        """The body as text, in the charset that the response names, else UTF-8; what does not fit is replaced."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return self.content.decode("utf-8" if named is None else named[1], "replace")
        except (LookupError, UnicodeError):  # no such charset, or none of text
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
          ValueError: it is none.
        """
        return json.loads(self.content)


@frozen
class HttpRequest:
    """One request.

    Attributes:
      method: in upper case.
      url: absolute, http or https.
      headers: its headers.
      content: its body; ``None`` without one.
      secret_headers: headers that are credentials beside :data:`CREDENTIALS`, in lower case.
      response_bytes_max: the longest body of a response that is taken.
    """

    method: str
    url: str
    headers: HttpHeaders = field(default=HttpHeaders(), repr=False)
    content: bytes | None = field(default=None, repr=False)
    secret_headers: tuple[str, ...] = ()
    response_bytes_max: int = HTTP_RESPONSE_BYTES_MAX

    def moved_to(self, url: str) -> HttpRequest:
        """The same request to another URL that was checked; without credentials and Host if that is another origin."""
        if origin_of(url) == origin_of(self.url):
            return evolve(self, url=url)
        return evolve(self, url=url, headers=self.headers.without({*CREDENTIALS, *self.secret_headers, "host"}))

    def as_get(self) -> HttpRequest:
        """A GET with the same headers, but for those that describe a body."""
        return evolve(self, method="GET", content=None, headers=self.headers.without(_OF_CONTENT))

    def redirected(self, response: HttpResponse) -> HttpRequest | None:
        """Where a response redirects it; ``None`` if the response is the answer.

        A redirect that leads from https to http, or to no URL, is not followed. 303 turns the method into GET, and so do 301
        and 302 after a POST.

        Source: RFC 9110, 15.4; that redirects do not leave https, and what POST becomes, is common practice of clients.
        """
        location = first_of(response.headers, "location")
        if response.status_code not in _REDIRECTS or location is None:
            return None
        try:
            url = resolved(location, self.url)
        except ValueError:
            return None
        if self.url.startswith("https:") and not url.startswith("https:"):
            return None
        moved = self.moved_to(url)
        to_get = self.method not in ("GET", "HEAD") and (
            response.status_code == _SEE_OTHER or (self.method == "POST" and response.status_code not in _KEEPING_THE_METHOD)
        )
        return moved.as_get() if to_get else moved


def first_of(headers: HttpHeaders, name: str) -> str | None:
    """The first value of a header, ``None`` if there is none or it is empty."""
    return next(iter(headers.get_all(name)), None) or None


def request_of(
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    content: object,
    secret_headers: Iterable[str],
    response_bytes_max: int,
) -> HttpRequest:
    """A request, each part of it checked; see ``ctx.call_http``."""
    if not isinstance(method, str) or _TOKEN.fullmatch(method) is None:  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
        raise ValueError(f"{method!r} is no HTTP method, such as 'GET' or 'POST'")
    if isinstance(response_bytes_max, bool) or not isinstance(response_bytes_max, int) or response_bytes_max < 0:  # pyright: ignore[reportUnnecessaryIsInstance] - see above
        raise ValueError(f"response_bytes_max is a whole number of bytes, 0 or more, not {response_bytes_max!r}")
    if isinstance(secret_headers, str):
        raise TypeError(f"secret_headers is a list of names, not the text {secret_headers!r}")
    secrets = tuple(sorted({_header_name(name).lower() for name in secret_headers}))
    fields = [] if headers is None else [_header(name, value) for name, value in headers.items()]
    body, content_type = _body(content)
    if content_type is not None and all(name.lower() != "content-type" for name, _ in fields):
        fields.append(("Content-Type", content_type))
    return HttpRequest(method.upper(), checked_url(url), HttpHeaders(tuple(fields)), body, secrets, response_bytes_max)


def _header_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a header is a str, not {type(name).__name__}: {name!r}")
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a header: letters, digits and hyphens")
    return name


def _header(name: object, value: object) -> tuple[str, str]:
    checked = _header_name(name)
    if not isinstance(value, str):
        raise TypeError(f"the value of header {checked!r} is a str, not {type(value).__name__}")
    if _VALUE.fullmatch(value) is None:  # the value itself is not shown: it may be a secret
        raise ValueError(f"the value of header {checked!r} is not printable ASCII without blanks around it")
    return checked, value


def _body(content: object) -> tuple[bytes | None, str | None]:
    """The bytes of a body, and what they are."""
    match content:
        case None:
            return None, None
        case bytes():
            return content, None
        case str():
            return content.encode(), "text/plain; charset=utf-8"
        case _:
            try:
                text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            except (TypeError, ValueError, RecursionError) as error:
                raise type(error)(f"content is bytes, str, or what JSON can say (dict, list, number, bool): {error}") from None
            return text.encode(), "application/json"
