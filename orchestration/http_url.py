"""URLs, as far as HTTP calls must understand them: which are allowed, and whether two lead to the same origin.

Whether credentials may go along hangs on the origin, so a URL that could be read in two ways is refused rather than
interpreted: whatever sends the request reads it once more, and must come to the same host.

Source: RFC 3986 (syntax, resolving), RFC 6454 (origins).
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urljoin, urlsplit

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port."""

_PORTS: Final = {"http": 80, "https": 443}
_AMBIGUOUS: Final = re.compile(r"[\x00-\x20\x7f\\]")
_HOST: Final = re.compile(r"[\w.~-]+|\[[0-9a-fA-F:.]+\]")


def checked_url(url: object) -> str:
    """A URL that may be requested, without its fragment.

    Raises:
      TypeError: it is no text.
      ValueError: it is not absolute, its scheme is not http or https, or it holds a user or characters that URLs have not.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}: {url!r}")
    if _AMBIGUOUS.search(url) is not None:
        raise ValueError(f"{url!r} is no URL: it holds blanks, control characters or backslashes; quote them with %")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"{url!r} cannot be requested: a URL begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError(f"{_without_user(parts)!r} was given with a user; put credentials into an Authorization header")
    host = parts.netloc.removesuffix(f":{parts.netloc.rpartition(':')[2]}") if port is not None else parts.netloc.rstrip(":")
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"{url!r} cannot be requested: {host!r} is no host")
    return url.partition("#")[0]


def origin_of(url: str) -> Origin:
    """The origin of a URL that was checked."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


def resolved(reference: str, base: str) -> str:
    """Where a reference in an answer leads, such as a Location header, that came from a URL.

    Raises:
      ValueError: it leads to what is no URL that may be requested.
    """
    try:
        joined = urljoin(base, reference.strip())
    except ValueError as error:
        raise ValueError(f"{reference!r} is no URL: {error}") from None
    return checked_url(joined)


def place_of(url: str) -> str:
    """A URL that was checked, without its query, which may hold secrets; for messages."""
    return url.partition("?")[0]


def _without_user(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
