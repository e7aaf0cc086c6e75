"""HTTP calls without a network: which URLs and requests are allowed, what goes along to where, and what follows an answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from perdure.entities.times import LATEST
from perdure.orchestration import HttpError, HttpHeaders, HttpResponse
from perdure.orchestration.http_message import CREDENTIALS, HttpRequest, request_of
from perdure.orchestration.http_polling import next_poll, poll_due
from perdure.orchestration.http_url import checked_url, origin_of, resolved
from perdure.storage.values import Values

from .helpers import SECOND

NOW = 1_900_000_000 * SECOND
URL = "https://api.example/jobs"
SECRETS = ("Authorization", "COOKIE", "proxy-authorization", "X-Functions-Key", "X-My-Token")
HEADERS = {**dict.fromkeys(SECRETS, "secret"), "Accept": "text/html", "Host": "api.example"}
HOSTS = st.sampled_from(["api.example", "API.example", "evil.example", "api.example.evil.example", "127.0.0.1", "[::1]"])
PORTS = st.sampled_from(["", ":", ":80", ":443", ":8443"])
ANYWHERE = st.builds("{}://{}{}{}".format, st.sampled_from(["http", "https"]), HOSTS, PORTS, st.sampled_from(["", "/", "/x?y#z"]))


def request(method: str = "POST", url: str = URL, content: object = None, **headers: str) -> HttpRequest:
    return request_of(method, url, headers or HEADERS, content, ["x-my-token"], 100)


def answer(status: int = 202, url: str = URL, **headers: str) -> HttpResponse:
    return HttpResponse(status, HttpHeaders(tuple((name.replace("_", "-"), value) for name, value in headers.items())), b"", url)


def secrets_of(sent: HttpRequest) -> set[str]:
    return {name.lower() for name in SECRETS} & set(sent.headers)


# --- URLs


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a.example/x", "http:// or https://"),
        ("//a.example/x", "http:// or https://"),
        ("jobs", "http:// or https://"),
        ("https:///x", "no host"),
        ("https:a.example", "no host"),
        ("https://a b.example/", "blanks"),
        ("https://a.example/\r\nX: y", "blanks"),
        ("https://evil.example\\@a.example/", "backslashes"),
        ("https://a.example:99999/", "Port out of range"),
        ("https://a.example:x/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://a,b/", "no host"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    """A URL that is not absolute, not http or https, or can be read in two ways is refused, with the reason."""
    with pytest.raises(ValueError, match=said) as caught:
        checked_url(url)
    assert repr(url) in str(caught.value)


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    """User and password in a URL are refused; the message says where they belong, and does not repeat them."""
    with pytest.raises(ValueError, match="Authorization header") as caught:
        checked_url("https://me:swordfish@a.example/x")
    assert "swordfish" not in str(caught.value)


def test_no_text_is_no_url() -> None:
    """What is no text is refused with its type."""
    with pytest.raises(TypeError, match="not bytes"):
        checked_url(b"https://a.example")


@given(st.text(st.sampled_from("htps:/@[].%?#\\ a1é\t\n,"), max_size=14) | ANYWHERE)
@example("//a@b")
def test_what_is_allowed_leads_where_httpx_goes(text: str) -> None:
    """Each URL that is allowed has the same origin here and for httpx (if httpx takes it), and so no credential can slip away."""
    url = text if "://" in text else f"http://{text}"
    try:
        checked = checked_url(url)
    except ValueError:
        return
    try:
        theirs = httpx.URL(checked)
    except httpx.InvalidURL:
        return
    scheme, host, port = origin_of(checked)
    assert (theirs.scheme, theirs.port or {"http": 80, "https": 443}[theirs.scheme]) == (scheme, port)
    assert theirs.host.encode("idna" if not host.isascii() else "ascii") == host.strip("[]").encode(
        "idna" if not host.isascii() else "ascii"
    )


@given(ANYWHERE, ANYWHERE)
def test_origins(left: str, right: str) -> None:
    """Two URLs have one origin if scheme, host (without regard to case) and port (80 or 443 if left out) are the same."""
    same = [httpx.URL(url) for url in (left, right)]
    ports = [url.port or {"http": 80, "https": 443}[url.scheme] for url in same]
    assert (origin_of(left) == origin_of(right)) == (
        same[0].scheme == same[1].scheme and same[0].host == same[1].host and ports[0] == ports[1]
    )


@pytest.mark.parametrize(
    ("reference", "leads_to"),
    [
        ("/done/7", "https://api.example/done/7"),
        ("7", "https://api.example/v1/7"),
        ("?job=7", "https://api.example/v1/jobs?job=7"),
        ("//other.example/7", "https://other.example/7"),
        ("http://other.example/7", "http://other.example/7"),
        (" /done/7 ", "https://api.example/done/7"),
        ("/done#there", "https://api.example/done"),
    ],
)
def test_references_are_relative_to_what_answered(reference: str, leads_to: str) -> None:
    """A Location may be relative, in each of the ways of RFC 3986."""
    assert resolved(reference, "https://api.example/v1/jobs?new=1") == leads_to


# --- requests


@pytest.mark.parametrize(
    ("content", "body", "content_type"),
    [
        (None, None, None),
        (b"\x00\xff", b"\x00\xff", None),
        ("größer", "größer".encode(), "text/plain; charset=utf-8"),
        ({"b": [1, None, True], "a": "ü"}, '{"b":[1,null,true],"a":"ü"}'.encode(), "application/json"),
        ([], b"[]", "application/json"),
        (0, b"0", "application/json"),
    ],
)
def test_content(content: object, body: bytes | None, content_type: str | None) -> None:
    """Bytes go as they are, a text as UTF-8, anything else as JSON, each with its Content-Type."""
    made = request_of("post", URL, None, content, (), 1)
    assert (made.method, made.content, made.headers.get("content-type")) == ("POST", body, content_type)


def test_the_callers_content_type_stays() -> None:
    """A Content-Type of the caller's own is not doubled or changed."""
    made = request_of("PATCH", URL, {"content-TYPE": "application/merge-patch+json"}, {"a": 1}, (), 1)
    assert made.headers.fields == (("content-TYPE", "application/merge-patch+json"),)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "GET /"}, ValueError, "no HTTP method"),
    ({"method": ""}, ValueError, "no HTTP method"),
    ({"content": {1, 2}}, TypeError, "what JSON can say"),
    ({"content": float("nan")}, ValueError, "what JSON can say"),
    ({"content": "\ud800"}, ValueError, "surrogates"),
    ({"headers": {"a b": "c"}}, ValueError, "no name of a header"),
    ({"headers": {1: "c"}}, TypeError, "not int"),
    ({"headers": {"a": 1}}, TypeError, "not int"),
    ({"headers": {"a": "b\r\nc: d"}}, ValueError, "header 'a'"),
    ({"headers": {"a": "ü"}}, ValueError, "printable ASCII"),
    ({"headers": {"a": " b"}}, ValueError, "blanks around"),
    ({"secret_headers": "authorization"}, TypeError, "a list of names"),
    ({"secret_headers": [1]}, TypeError, "not int"),
    ({"response_bytes_max": -1}, ValueError, "0 or more"),
    ({"response_bytes_max": True}, ValueError, "whole number"),
]


@pytest.mark.parametrize(("options", "error", "said"), BAD, ids=lambda value: repr(value)[:40])
def test_requests_that_are_refused(options: dict[str, Any], error: type[Exception], said: str) -> None:
    """What cannot be sent is refused at the call, with what was wrong."""
    given: dict[str, Any] = {
        "method": "GET",
        "url": URL,
        "headers": None,
        "content": None,
        "secret_headers": (),
        "response_bytes_max": 1,
    }
    with pytest.raises(error, match=said):
        request_of(**{**given, **options})


def test_secrets_are_not_shown() -> None:
    """Neither the message about a bad header nor the repr of a request or an answer holds the value of a header or a body."""
    with pytest.raises(ValueError, match="authorization") as caught:
        request_of("GET", URL, {"authorization": "swordfish\n"}, None, (), 1)
    shown = repr(request(content="swordfish", a="swordfish")) + repr(evolve(answer(set_cookie="swordfish"), content=b"swordfish"))
    assert "swordfish" not in str(caught.value) + shown


@given(st.lists(st.tuples(st.sampled_from(["A", "a", "B", "set-cookie"]), st.text("xy", max_size=2)), max_size=6))
def test_headers_without_regard_to_case(fields: list[tuple[str, str]]) -> None:
    """A header is found under its name in any case; several values come joined, or one by one in their order."""
    headers = HttpHeaders(tuple(fields))
    assert sorted(headers) == sorted({name.lower() for name, _ in fields})
    assert len(headers) == len(list(headers))
    for name in ("a", "A", "b"):
        values = [value for each, value in fields if each.lower() == name.lower()]
        assert headers.get_all(name) == values
        assert headers.get(name) == (", ".join(values) if values else None)


@given(st.integers(100, 599), st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2), st.binary(max_size=9))
def test_E6_answers_are_kept_exactly(status: int, fields: list[tuple[str, str]], content: bytes) -> None:
    """An answer comes out of the journal as it went in."""
    response = HttpResponse(status, HttpHeaders(tuple(fields)), content, URL)
    codec = Values().codec(HttpResponse, place="answer")
    assert codec.decode(codec.encode(response)) == response


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("ü".encode(), "", "ü"),
        ("ü".encode("latin-1"), "text/html; charset=ISO-8859-1", "ü"),
        ("ü".encode("utf-16"), 'text/html; x=y; Charset="utf-16"', "ü"),
        (b"\xff", "text/html", "\ufffd"),
        (b"a", "text/html; charset=martian", "a"),
        (b"a", "text/html; charset=base64", "a"),
        (b"a\x00", "text/html; charset=idna", "a\x00"),
    ],
)
def test_text(content: bytes, content_type: str, text: str) -> None:
    """A body becomes text by the charset that is named, or UTF-8, and never fails."""
    assert HttpResponse(200, HttpHeaders((("content-type", content_type),)), content, URL).text == text


@given(
    st.binary(max_size=6),
    st.sampled_from(["utf-8", "utf-16", "utf-7", "ascii", "idna", "punycode", "hex", "rot13", "undefined", "."]),
)
def test_text_never_fails(content: bytes, charset: str) -> None:
    """Whatever charset is named, also one of no text, a body has a text."""
    assert isinstance(HttpResponse(200, HttpHeaders((("Content-Type", f"a/b; charset={charset}"),)), content, URL).text, str)


def test_json() -> None:
    """A body becomes what its JSON says, and a ValueError if it says none."""
    assert HttpResponse(200, HttpHeaders(), json.dumps({"a": [1]}).encode(), URL).json() == {"a": [1]}
    with pytest.raises(ValueError, match="Expecting value"):
        HttpResponse(200, HttpHeaders(), b"", URL).json()


# --- credentials


@given(st.lists(ANYWHERE, min_size=1, max_size=4))
def test_credentials_stay_with_their_origin(places: list[str]) -> None:
    """However a request is led about, it carries credentials only as long as every place on the way had the first one's origin."""
    sent, still = request(), True
    for place in places:
        sent = sent.moved_to(place)
        still = still and origin_of(place) == origin_of(URL)
        assert secrets_of(sent) == ({name.lower() for name in SECRETS} if still else set())
        assert ("host" in sent.headers) == still
        assert sent.headers["accept"] == "text/html"


@given(st.lists(st.tuples(st.sampled_from([202, 307]), ANYWHERE), max_size=4))
def test_polls_and_redirects_take_no_credentials_along(path: list[tuple[int, str]]) -> None:
    """Through any chain of polls and redirects, no credential reaches an origin that it was not given for."""
    sent = polled = request()
    for status, place in path:
        response = answer(status, sent.url, location=place)
        poll = next_poll(polled, response, NOW, polling=True)
        if poll is not None:
            sent = polled = poll.request
        elif (redirected := sent.redirected(response)) is not None:
            sent = redirected
        if origin_of(sent.url) != origin_of(URL):
            assert secrets_of(sent) == set()


def test_the_names_of_credentials_are_in_lower_case() -> None:
    """Header names are compared in lower case, so those that are looked for must be."""
    assert {name.lower() for name in CREDENTIALS} == CREDENTIALS


# --- redirects


@pytest.mark.parametrize(
    ("method", "status", "becomes"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("GET", 308, "GET"),
    ],
)
def test_the_method_after_a_redirect(method: str, status: int, becomes: str) -> None:
    """303 leads to a GET, 301 and 302 only after a POST; a body and what describes it go with the method."""
    moved = request(method, content="text", Accept="text/html").redirected(answer(status, location="/there"))
    assert moved is not None
    assert (moved.method, moved.url) == (becomes, "https://api.example/there")
    assert (moved.content is None, "content-type" in moved.headers) == ((True, False) if becomes != method else (False, True))
    assert moved.headers["accept"] == "text/html"


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (200, "/x"),
        (300, "/x"),
        (304, "/x"),
        (307, ""),
        (307, "ftp://a.example"),
        (307, "https://a:b@c.example"),
        (307, "http://api.example/x"),
    ],
)
def test_answers_that_redirect_nowhere(status: int, location: str) -> None:
    """Another status, no place, one that is no http URL, and one that leads out of https: then the response is the answer."""
    assert request().redirected(answer(status, location=location)) is None
    assert request().redirected(answer(status)) is None


# --- polling


@given(st.integers(200, 599).filter(lambda status: status != 202), st.booleans())
def test_any_other_status_ends_it(status: int, polling: bool) -> None:
    """An answer with another status than 202 is the result, whatever it says of places."""
    assert next_poll(request(), answer(status, location="/there", retry_after="5"), NOW, polling=polling) is None


def test_a_poll_is_a_get_without_body() -> None:
    """What is polled is asked with GET, the caller's headers, and nothing of the body; one 30 seconds later is next."""
    poll = next_poll(request(content={"a": 1}, Accept="x/y"), answer(location="/jobs/7"), NOW, polling=False)
    assert poll is not None
    assert (poll.request.method, poll.request.url, poll.request.content) == ("GET", "https://api.example/jobs/7", None)
    assert poll.request.headers.fields == (("Accept", "x/y"),)
    assert poll.due == NOW + 30 * SECOND


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"operation_location": "/state"}, "/state"),
        ({"operation_location": "/state", "location": "/result"}, "/result"),
        ({"operation_location": "/state", "location": ""}, "/state"),
        ({"LOCATION": "/result"}, "/result"),
    ],
)
def test_which_place_is_polled(headers: dict[str, str], place: str) -> None:
    """Location wins over Operation-Location, which alone is enough."""
    poll = next_poll(request(), answer(**headers), NOW, polling=False)
    assert poll is not None
    assert poll.request.url == f"https://api.example{place}"


def test_a_202_without_a_place() -> None:
    """It is the answer of a first request; of a poll it means that the same place is to be asked again."""
    again = request("GET", "https://api.example/jobs/7")
    assert next_poll(again, answer(), NOW, polling=False) is None
    poll = next_poll(again, answer(url="https://elsewhere.example/"), NOW, polling=True)
    assert poll is not None
    assert poll.request == again


def test_a_place_is_relative_to_what_answered() -> None:
    """After a redirect to another origin, a relative place lies there, and the credentials stay behind; also on the way back."""
    for location, url in (("/7", "https://other.example/7"), (URL, URL)):
        poll = next_poll(request(), answer(url="https://other.example/jobs", location=location), NOW, polling=False)
        assert poll is not None
        assert poll.request.url == url
        assert secrets_of(poll.request) == set()


@pytest.mark.parametrize("place", ["ftp://a.example/x", "https://a:b@c.example/", "http://a b", "http://[x"])
def test_an_impossible_place_is_an_error(place: str) -> None:
    """A 202 with a place that cannot be asked is an error that shows it: it is neither done nor can one go on."""
    with pytest.raises(HttpError, match="place to poll"):
        next_poll(request(), answer(location=place), NOW, polling=False)


# --- when


@given(st.integers(0, 10**9))
def test_retry_after_in_seconds(seconds: int) -> None:
    """Retry-After in seconds counts from the answer; it is at least one second."""
    assert poll_due(f" {seconds} ", NOW) == NOW + max(1, seconds) * SECOND


@given(st.integers(-(10**9), 10**9))
def test_retry_after_as_a_date(seconds: int) -> None:
    """Retry-After as a date is that time; one that has passed means in a second."""
    date = datetime.fromtimestamp(NOW // SECOND, UTC) + timedelta(seconds=seconds)
    assert poll_due(format_datetime(date, usegmt=True), NOW) == NOW + max(1, seconds) * SECOND


@pytest.mark.parametrize("date", ["Fri, 17 Mar 2034 17:46:40 GMT", "Friday, 17-Mar-34 17:46:40 GMT", "Fri Mar 17 17:46:40 2034"])
def test_each_form_of_a_date(date: str) -> None:
    """All three forms of RFC 9110 are dates in UTC."""
    seconds = int(datetime(2034, 3, 17, 17, 46, 40, tzinfo=UTC).timestamp())
    assert poll_due(date, NOW) == seconds * SECOND


@pytest.mark.parametrize("garbage", [None, "", "soon", "-5", "+5", "1.5", "1_0", "٣", "5, 6", "Fri, 99 Foo 2034", "0x10", "Mon"])
def test_garbage_counts_as_left_out(garbage: str | None) -> None:
    """What is neither seconds nor a date means 30 seconds."""
    assert poll_due(garbage, NOW) == NOW + 30 * SECOND


@given(
    st.text(max_size=40)
    | st.text("0123456789 :,-+GMTFriJan", max_size=40)
    | st.sampled_from(["9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
)
@example("9" * 13)
def test_any_retry_after_is_a_time(text: str) -> None:
    """Whatever a server says, the next poll is at least a second away and a time that can be told."""
    assert NOW + SECOND <= poll_due(text, NOW) <= LATEST
