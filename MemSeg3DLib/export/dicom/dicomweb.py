"""Sending DICOM files to a PACS by DICOMweb (STOW-RS), with `requests` alone; any thread."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from MemSeg3DLib.base.errors import ExportError
from MemSeg3DLib.base.hosts import is_loopback
from MemSeg3DLib.export.dicom.multipart import MultipartFiles
from MemSeg3DLib.export.dicom.store_report import code_of, items_of, report_of, value_of

CONNECT_SECONDS = 10.0
# A PACS may index what it has received before it answers.
ANSWER_SECONDS = 300.0


class DicomWebError(ExportError):
    """The PACS cannot be reached, or does not take the files; the message names the host and the reason."""


@dataclass(frozen=True)
class DicomWebServer:
    """A DICOMweb service that the user has chosen. url: its root, such as "https://pacs.example/dicom-web".

    token: bearer token; or user and password. ca_file: certificates that vouch for the server, where the hospital has
    its own. Secrets are never shown by `repr`.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url.strip())
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_address = False
        if not is_address:
            raise DicomWebError(
                f"{self.url!r} is no address of a DICOMweb service: write it as https://host:port/dicom-web."
            )
        if parts.username or parts.password:
            raise DicomWebError("The address holds a password: enter user and password in their own fields.")
        if self.ca_file and not Path(self.ca_file).is_file():
            raise DicomWebError(f"There is no file {self.ca_file}: choose the file with the PACS's certificates.")

    @property
    def host(self) -> str:
        """Host and port, as the user is to confirm them."""
        return urlsplit(self.url.strip()).netloc

    @property
    def is_local(self) -> bool:
        """True where nothing leaves this computer."""
        return is_loopback(self.url.strip())

    @property
    def is_encrypted(self) -> bool:
        """True where nobody on the way can read along."""
        return urlsplit(self.url.strip()).scheme == "https"


@dataclass(frozen=True)
class StoredInstances:
    """What the PACS took: SOP instance UIDs, and a sentence for each warning that it gave."""

    instances: tuple[str, ...]
    warnings: tuple[str, ...]


def store(
    server: DicomWebServer, files: Sequence[Path], on_sent: Callable[[int, int], None] | None = None
) -> StoredInstances:
    """Send DICOM files in one request.

    on_sent(sent, total) is called with bytes while they go; what it raises ends the upload. Raises DicomWebError where
    the PACS refuses, or takes only some of them; the sentence then says which and why.
    """
    # Here and not above: it takes long to load, and most sessions never send anything.
    import pydicom

    instances = {str(pydicom.dcmread(one, stop_before_pixels=True).SOPInstanceUID): one.name for one in files}
    body = MultipartFiles(files, on_sent)
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={body.boundary}',
        "Accept": "application/dicom+json",
    }
    answer = _call(server, "POST", "/studies", headers, body)
    report = report_of(answer.content)
    is_page = report is None and answer.status_code != 409 and _is_a_page(answer)
    if is_page or answer.status_code not in (200, 201, 202, 204, 409):
        raise _refused(server, answer)
    failures = _failures(report or {})
    if failures or answer.status_code == 409:
        raise _not_stored(server, instances, failures)
    return StoredInstances(tuple(instances), (*_warnings(report or {}), *_unconfirmed(server, instances, report or {})))


def check(server: DicomWebServer) -> None:
    """Ask the PACS for nothing in particular: address, certificate and credentials are right if this returns."""
    answer = _call(server, "GET", "/studies?limit=1", {"Accept": "application/dicom+json"}, None)
    if answer.status_code not in (200, 204) or (_is_a_page(answer) and report_of(answer.content) is None):
        raise _refused(server, answer)


def _call(
    server: DicomWebServer, method: str, path: str, headers: dict[str, str], body: MultipartFiles | None
) -> requests.Response:
    url = server.url.strip().rstrip("/") + path
    with requests.Session() as http:
        # A hospital's proxy must never see, nor break, a conversation of this computer with itself.
        http.trust_env = not server.is_local
        # Without an `auth` of its own, requests would send a password of the user's .netrc.
        http.auth = lambda request: _authorised(server, request)
        try:
            return http.request(
                method,
                url,
                headers=headers,
                data=body,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                verify=server.ca_file or True,
                # Patient data go to the host that the user has confirmed, and to no other.
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise DicomWebError(
                f"The certificate of {server.host} is not trusted: choose the file of your hospital's certificates."
            ) from error
        except requests.exceptions.ProxyError as error:
            raise DicomWebError(f"The proxy on the way to {server.host} refused: ask your administrator.") from error
        except requests.exceptions.Timeout as error:
            raise DicomWebError(
                f"{server.host} did not answer in time: look there whether it took the files, then try again."
            ) from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            raise DicomWebError(f"{server.host} cannot be reached: check address, port and network.") from error


def _authorised(server: DicomWebServer, request: requests.PreparedRequest) -> requests.PreparedRequest:
    if server.token:
        request.headers["Authorization"] = f"Bearer {server.token.strip()}"
    elif server.user:
        words = f"{server.user}:{server.password or ''}".encode()
        request.headers["Authorization"] = f"Basic {base64.b64encode(words).decode('ascii')}"
    return request


def _refused(server: DicomWebServer, answer: requests.Response) -> DicomWebError:
    status = answer.status_code
    reasons = {
        401: "it does not accept the user, password or token: check them",
        403: "you are not allowed to store there: ask its administrator",
        404: "there is no DICOMweb service at this address: check the path, such as /dicom-web",
        405: "it does not take files at this address: check the path, or ask whether STOW-RS is switched on",
        413: "the file is too large for it: export fewer segments, or ask its administrator",
        415: "it does not take DICOM-SEG, or not in this form: ask its administrator",
        507: "its disk is full: tell its administrator",
    }
    if status < 300:
        reason = "this is no answer of a DICOMweb service: check the address, and whether a gateway wants you to log in"
    elif status < 400:
        reason = "it wants to send us to another address, which was not confirmed: enter that address instead"
    elif status >= 500 and status not in reasons:
        reason = "it has failed itself: try again later, or tell its administrator"
    else:
        reason = reasons.get(status, "it does not understand the request: ask its administrator")
    return DicomWebError(f"{server.host} refused (HTTP {status}): {reason}.")


def _is_a_page(answer: requests.Response) -> bool:
    """True for words that are no report of DICOMweb, such as the page on which a gateway asks for a password."""
    is_xml = "dicom+xml" in answer.headers.get("Content-Type", "") or b"<NativeDicomModel" in answer.content[:1000]
    return bool(answer.content.strip()) and not is_xml


def _unconfirmed(server: DicomWebServer, instances: dict[str, str], report: dict[str, Any]) -> list[str]:
    """A sentence where the report does not name every file as stored."""
    # ReferencedSOPSequence lists what was stored.
    named = {str(value_of(item, "00081155")) for item in items_of(report, "00081199")}
    open_ones = [name for uid, name in instances.items() if uid not in named]
    if not open_ones:
        return []
    return [f"{server.host} did not confirm {len(open_ones)} of {len(instances)} files: look there for them."]


def _failures(report: dict[str, Any]) -> list[tuple[str, int]]:
    """(SOP instance UID, failure reason) of what was not stored."""
    found = []
    for tag in ("00081198", "0008119A"):  # FailedSOPSequence, OtherFailuresSequence
        for item in items_of(report, tag):
            found.append((str(value_of(item, "00081155") or ""), code_of(value_of(item, "00081197"))))
    return found


def _warnings(report: dict[str, Any]) -> list[str]:
    reasons = {
        0xB000: "the PACS changed some of its attributes",
        0xB006: "the PACS left out some of its attributes",
        0xB007: "the PACS doubts that it fits its type",
    }
    found = []
    for item in items_of(report, "00081199"):  # ReferencedSOPSequence
        if value_of(item, "00081196") is not None:
            code = code_of(value_of(item, "00081196"))
            found.append(f"Stored, but {reasons.get(code, f'the PACS warns with code {code:04X}')}.")
    return found


def _not_stored(
    server: DicomWebServer, instances: dict[str, str], failures: Sequence[tuple[str, int]]
) -> DicomWebError:
    if not failures:
        return DicomWebError(f"{server.host} stored nothing and gave no reason: ask its administrator.")
    told = "; ".join(f"{instances.get(uid, 'one file')}: {_reason(code)}" for uid, code in failures)
    stored = len(instances) - len(failures)
    rest = f" {stored} of {len(instances)} files were stored." if stored > 0 else " Nothing was stored."
    return DicomWebError(f"{server.host} did not take every file: {told}.{rest}")


def _reason(code: int) -> str:
    """DICOM's failure reasons in words (PS3.4 B.2.3, PS3.7 C.5)."""
    exact = {
        0x0105: "an attribute is not known to it",
        0x0106: "an attribute has a value that it does not take",
        0x0110: "it failed while processing the file",
        0x0111: "it has this very instance already",
        0x0117: "it takes the instance's UID for invalid",
        0x0120: "an attribute that it needs is missing",
        0x0121: "an attribute that it needs is empty",
        0x0122: "it does not take DICOM-SEG",
        0x0124: "you are not allowed to store there",
        0xC122: "it does not take this transfer syntax",
    }
    ranges = {0xA700: "it is out of space", 0xA900: "it finds that the file does not fit its type"}
    known = exact.get(code) or ranges.get(code & 0xFF00)
    if known is None:
        known = "it cannot understand the file" if code & 0xF000 == 0xC000 else "no reason was given"
    return f"{known} (code {code:04X})"
