"""Why a worker cannot be reached, in sentences: each cause has its own, and says who can do what about it."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Sequence
from http.client import RemoteDisconnected
from pathlib import Path
from urllib.parse import urlsplit

import requests

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.answers import plain_words

# Verification codes of OpenSSL.
_NOT_YET, _EXPIRED, _OTHER_HOST, _OTHER_NUMBER = 9, 10, 62, 64

# Parts of OpenSSL that read a file of certificates, before anything is sent.
_CERTIFICATE_READERS = {"X509", "PEM", "ASN1"}

_GATEWAY = {
    413: (
        "a proxy on the way takes no upload of this size, the worker has not seen it: ask who runs the proxy to raise "
        "its limit (nginx: client_max_body_size 0)"
    ),
    429: "it, or a proxy on the way, has too many requests: try again in a moment",
    407: "the proxy on the way asks for a user and password: ask your IT for a proxy that lets this computer through",
    502: "the gateway before it cannot reach the worker: is it running, and does the gateway speak HTTP/1.1 to it?",
    503: "the gateway before it says that the worker is not available: try again in a moment, or ask who runs it",
    504: "the gateway before it waited too long for the worker: its time-out must be longer than a round (10 minutes)",
}


def explain(url: str, error: BaseException, ca_file: str | None = None) -> WorkerError:
    """What a failed request means. Code `certificate` where trust is missing, else `unreachable`: it may come back."""
    chain = list(_causes(error))
    host = urlsplit(url).hostname or url
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(url, host, cause)
    if isinstance(error, requests.exceptions.ProxyError):
        return _unreachable(
            f"The proxy of this computer does not lead to {host}: check its address, or except {host} (NO_PROXY)."
        )
    if ca_file and not Path(ca_file).is_file():
        return WorkerError("certificate", f"There is no CA file {ca_file}: check the settings.")
    if ca_file and {getattr(cause, "library", None) for cause in chain} & _CERTIFICATE_READERS:
        return _ca_unreadable(ca_file)
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return _no_tls(url, chain)
    return _unreachable(_network_sentence(url, host, error, chain))


def gateway_sentence(url: str, status: int) -> str | None:
    """What an answer of something between here and the worker means; None where the status does not tell."""
    said = _GATEWAY.get(status)
    return said and f"{url} answers {status}: {said}."


def gateway_code(status: int) -> str:
    """`unreachable` where it may be another time; what is too large stays too large, however often it is sent."""
    return "too_large" if status == 413 else "unreachable"


def stalled(url: str) -> WorkerError:
    """A worker that is there and comes to no end: it is not asked again by itself."""
    return WorkerError(
        "stalled", f"{url} is there but does not finish what it was asked: it may hang. Try again, or restart it."
    )


def redirect_sentence(url: str, target: str) -> str:
    """A redirect is never followed: it could lead token and images elsewhere."""
    try:
        parts = urlsplit(target)
    except ValueError:
        parts = urlsplit("")
    place = plain_words(f"{parts.scheme}://{parts.netloc}", 120) if parts.netloc else "another path"
    return f"{url} redirects to {place}, which is not followed: if that address is the worker's, enter it."


def protocol_sentence(url: str, spoken: object, ours: Sequence[int]) -> str:
    """Who must update, where both sides share no protocol."""
    versions = [one for one in spoken[:9] if isinstance(one, int)] if isinstance(spoken, list) else []
    if not versions:
        return f"{url} tells no protocol that it speaks: check the address; a MemSeg3D worker names them."
    theirs, mine = ", ".join(map(str, sorted(versions))), ", ".join(map(str, sorted(ours)))
    if max(versions) < min(ours):
        return (
            f"The worker at {url} is older than this extension (protocol {theirs} against {mine}): ask who runs it to "
            "update the worker."
        )
    return (
        f"The worker at {url} is newer than this extension (protocol {theirs} against {mine}): update MemSeg3D in the "
        "Extensions Manager."
    )


def _untrusted(url: str, host: str, cause: ssl.SSLCertVerificationError) -> WorkerError:
    code = cause.verify_code
    if code == _EXPIRED:
        said = f"The certificate of {url} has expired: ask for a new one, and check this computer's date."
    elif code == _NOT_YET:
        said = f"The certificate of {url} is not valid yet: check the date of this computer."
    elif code in (_OTHER_HOST, _OTHER_NUMBER) or "match" in cause.verify_message:
        said = (
            f"The certificate of {url} is made out for another name than {host}: enter the name that it was made for."
        )
    else:
        said = f"The certificate of {url} is not trusted: set the CA file that your hospital's IT gives out."
    return WorkerError("certificate", said)


def _no_tls(url: str, chain: list[BaseException]) -> WorkerError:
    reasons = {getattr(cause, "reason", None) for cause in chain}
    if reasons & {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"}:
        return WorkerError(
            "certificate",
            f"{url} does not speak TLS: its address may begin with http://, or the port is another one's.",
        )
    return WorkerError(
        "certificate", f"No secure connection to {url} comes about: ask who runs the worker to offer TLS 1.2 or 1.3."
    )


def _ca_unreadable(ca_file: str) -> WorkerError:
    return WorkerError(
        "certificate",
        f"{ca_file} holds no certificate: it must be a PEM file that begins with -----BEGIN CERTIFICATE-----.",
    )


def _network_sentence(url: str, host: str, error: BaseException, chain: list[BaseException]) -> str:
    numbers = {cause.errno for cause in chain if isinstance(cause, OSError)}
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"{url} did not answer in time: a firewall may hold the port back; ask your IT to open it."
    if isinstance(error, requests.exceptions.Timeout):
        return f"{url} did not answer in time: check the network and the worker."
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return f"No computer called {host} is known here, so it cannot be reached: check the spelling, and the VPN."
    if errno.ECONNREFUSED in numbers:
        return (
            f"{url} cannot be reached: the computer is there, but nothing listens on that port; is the worker running?"
        )
    if any(isinstance(cause, ConnectionResetError | ConnectionAbortedError | RemoteDisconnected) for cause in chain):
        hint = " If it speaks TLS, write https://." if url.startswith("http://") else ""
        return f"{url} cannot be reached: it hung up without an answer.{hint}"
    return f"{url} cannot be reached: is the worker running, and does the network let you through?"


def _unreachable(sentence: str) -> WorkerError:
    return WorkerError("unreachable", sentence)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: urllib3 keeps the first cause in `reason` or in the arguments."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
