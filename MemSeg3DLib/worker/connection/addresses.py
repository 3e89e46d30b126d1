"""The address of a worker as a user types it: put in order where that is safe, refused with a sentence otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.base.hosts import is_loopback

_OUR_PATHS = re.compile(r"/v\d+(/.*)?$|/docs/?$|/openapi\.json$")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


@dataclass(frozen=True)
class Address:
    """A worker's address. url: as `WorkerClient` takes it; host: with its port, for people; notes: what was changed."""

    url: str
    host: str
    is_local: bool
    notes: tuple[str, ...] = ()


def read_address(text: str, allow_plain_text: bool = False) -> Address:
    """The address in `text`. Raises WorkerError (`bad_address`) with a sentence that says what to type.

    allow_plain_text: the user has said that http to another computer is fine (such as inside of a tunnel).
    """
    typed = text.strip()
    if not typed:
        raise _bad("Enter the worker's address, such as https://worker.hospital.example:8443.")
    notes: list[str] = []
    if "://" not in typed:
        scheme = "http" if is_loopback(f"http://{typed}") else "https"
        notes.append(f"The address had no scheme: {scheme}:// is taken.")
        typed = f"{scheme}://{typed}"
    parts = _split(typed)
    host = _host(parts)
    path = parts.path.rstrip("/")
    if (kept := _OUR_PATHS.sub("", path).rstrip("/")) != path:
        notes.append(f"The end {path.removeprefix(kept)} was left out: the address ends before it.")
        path = kept
    authority = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        authority = f"{authority}:{parts.port}"
    url = f"{parts.scheme.lower()}://{authority}{path}"
    is_local = is_loopback(url)
    if url.startswith("http://") and not is_local and not allow_plain_text:
        raise _bad(
            f"http:// would send images and the token to {authority} readable for everybody on the way: use https://, "
            "or allow plain text for this worker."
        )
    return Address(url, authority, is_local, tuple(notes))


def _split(typed: str) -> SplitResult:
    if any(letter.isspace() for letter in typed):
        raise _bad("The address has a space in it: copy it anew.")
    try:
        parts = urlsplit(typed)
        port = parts.port
    except ValueError as error:
        raise _bad(
            f"{typed} is no address: the port is a number up to 65535, and [ ] stand round an IPv6 only."
        ) from error
    if parts.scheme.lower() not in ("http", "https"):
        raise _bad(f"{parts.scheme}:// is not how a worker is reached: write https://host:port.")
    if parts.username is not None or parts.password is not None:
        raise _bad(
            "The address holds a user or password: leave them out and put the worker's token into its own field."
        )
    if parts.query or parts.fragment:
        raise _bad("The address has something after a ? or #: leave that out.")
    if port == 0:
        raise _bad("Port 0 is none: ask for the port that the worker listens on.")
    return parts


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise _bad("The address names no computer: write it as https://host:port.")
    try:
        number = ip_address(host)
    except ValueError:
        pass
    else:
        if number.is_unspecified:
            raise _bad(
                f"{host} is what a worker listens on and no address to reach: enter the name or number of its computer "
                "(127.0.0.1 for this one)."
            )
        return host
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _bad(f"{host} is no name of a computer: check its spelling.") from error
    if not _HOST_NAME.fullmatch(name):
        raise _bad(f"{host} is no name of a computer: check its spelling.")
    return name


def _bad(sentence: str) -> WorkerError:
    return WorkerError("bad_address", sentence)
