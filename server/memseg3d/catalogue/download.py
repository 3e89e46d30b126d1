"""Fetches one file: goes on where it was cut off, tells its progress, and keeps nothing but what it should be."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import NoReturn

from memseg3d.catalogue.entries import CatalogueError, RemoteFile
from memseg3d.network.models import sha256_of

CHUNK = 1 << 18
ATTEMPTS = 6
"""So often is a cut connection taken up without any byte gained."""
PATIENCE_SECONDS = 60.0
_SPARE = 64 << 20
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_CUT = (http.client.IncompleteRead, ConnectionError, TimeoutError, http.client.BadStatusLine)

Progress = Callable[[int, int], None]
"""Bytes that are there, and bytes in all (0: not told). May raise to stop; what is there is kept."""


class _SameSafety(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise CatalogueError(f"{req.host} sends on to an address without encryption: the file is not fetched.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Downloader:
    """Fetches files by HTTP. proxy: its address; None: that of the environment or of the system's settings.

    pause: seconds before the first new attempt, doubled for each further one.
    """

    def __init__(self, proxy: str | None = None, pause: float = 1.0) -> None:
        ways: list[urllib.request.BaseHandler] = [_SameSafety()]
        if proxy:
            ways.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        self._opener = urllib.request.build_opener(*ways)
        self._opener.addheaders = [("User-Agent", "memseg3d")]
        self._pause = pause

    def fetch(self, file: RemoteFile, target: Path, progress: Progress = lambda done, total: None) -> bool:
        """Fetch `file` to `target`; False where it is optional and not there.

        It grows as `<target>.part`, which a later call goes on with, and gets its name once it has been checked.
        Raises CatalogueError: connection, refusal, a page in place of the file, wrong size, wrong sum, full disk.
        """
        part = target.with_name(f"{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self._grown(file, part, progress):
                return False
            self._check(file, part)
            os.replace(part, target)
            _mark(part).unlink(missing_ok=True)
        except OSError as error:
            _refuse_disk(error, target, part)
        return True

    def _grown(self, file: RemoteFile, part: Path, progress: Progress) -> bool:
        """Fetch until the part is whole, through cut connections. False where an optional file is not there."""
        failed = 0
        while True:
            before = _size(part)
            try:
                return self._append(file, part, progress)
            except _CUT as error:
                failed = 0 if _size(part) > before else failed + 1
                if failed >= ATTEMPTS:
                    raise CatalogueError(
                        f"{_host(file.url)} breaks the connection off again and again ({error}). "
                        "What has come is kept: try again later, and it goes on from there."
                    ) from error
                time.sleep(self._pause * 2 ** max(0, failed - 1))
            except urllib.error.HTTPError as error:
                if error.code == 404 and file.optional:
                    return False
                if error.code == 416 and before:
                    if file.bytes and before == file.bytes:
                        return True
                    _forget(part)  # longer than what is there now: it is another file
                    continue
                raise CatalogueError(_refusal(file, error.code)) from error
            except urllib.error.URLError as error:
                raise CatalogueError(
                    f"{_host(file.url)} cannot be reached ({error.reason}): check the network and the proxy "
                    "(--proxy, or the variables HTTPS_PROXY and HTTP_PROXY)."
                ) from error

    def _append(self, file: RemoteFile, part: Path, progress: Progress) -> bool:
        """One connection: from the end of the part to the end of the file."""
        begun = _size(part)
        if file.bytes and begun == file.bytes:
            return True
        mark = _mark(part).read_text("utf-8") if begun and _mark(part).is_file() else ""
        request = urllib.request.Request(file.url)
        if begun:
            request.add_header("Range", f"bytes={begun}-")
            if mark:
                request.add_header("If-Range", mark)
        with self._opener.open(request, timeout=PATIENCE_SECONDS) as answer:
            begun, total = _agreed(file, answer, begun)
            _require_room(part, total - begun)
            _mark(part).write_text(answer.headers.get("ETag") or "", encoding="utf-8")
            with part.open("ab" if begun else "wb") as growing:
                done = begun
                progress(done, total)
                while chunk := answer.read1(CHUNK):
                    growing.write(chunk)
                    done += len(chunk)
                    progress(done, total)
                growing.flush()
                os.fsync(growing.fileno())
        if total and done < total:
            raise ConnectionError(f"after {done} of {total} bytes")
        return True

    def _check(self, file: RemoteFile, part: Path) -> None:
        """Raise CatalogueError, and let go of what came, where it is not the file of the catalogue."""
        size = _size(part)
        with part.open("rb") as opened:
            head = opened.read(64)
        if _is_page(head):
            _forget(part)
            raise CatalogueError(_page(file))
        if file.bytes and size != file.bytes:
            _forget(part)
            raise CatalogueError(_other_size(file, size))
        if file.sha256 and not (sum_ := sha256_of(part)).startswith(file.sha256.lower()):
            _forget(part)
            raise CatalogueError(
                f"{Path(file.path).name} has the SHA-256 {sum_}, not {file.sha256}: it was damaged on its way, or "
                f"{_host(file.url)} has another file there now. It was deleted; try again, and tell us if it stays so."
            )


def _agreed(file: RemoteFile, answer: HTTPResponse, begun: int) -> tuple[int, int]:
    """Where the answer begins and how long the whole file is (0: not told). Raises CatalogueError."""
    if "text/html" in (answer.headers.get("Content-Type") or ""):
        raise CatalogueError(_page(file))
    length = int(answer.headers.get("Content-Length") or 0)
    if answer.status == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (answer.headers.get("Content-Range") or "").strip())
        if told is None or int(told.group(1)) != begun:
            raise CatalogueError(f"{_host(file.url)} answers with another part than was asked for: try again.")
        total = begun + length if told.group(2) == "*" else int(told.group(2))
    else:
        begun, total = 0, length
    if file.bytes and total and total != file.bytes:
        raise CatalogueError(_other_size(file, total))
    return begun, total or file.bytes


def _require_room(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted + _SPARE > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refuse_disk(error: OSError, target: Path, part: Path) -> NoReturn:
    if error.errno in _FULL:
        raise CatalogueError(
            f"The disk with {target.parent} is full: make room, or name another folder by --models. What has come "
            f"is kept as {part.name}; fetching again goes on from there, `memseg3d models remove` deletes it."
        ) from error
    raise CatalogueError(f"{target} cannot be written ({error.strerror}): name another folder by --models.") from error


def _refusal(file: RemoteFile, code: int) -> str:
    host = _host(file.url)
    if code in (401, 403):
        return f"{host} gives the file to known users only ({code}): fetch it by a browser, then `memseg3d models add`."
    if code == 407:
        return "The proxy asks for a name and a password (407): give them with --proxy http://name:password@host:port."
    if code == 404:
        return f"{host} has no such file any more (404): a newer MemSeg3D may know where it went."
    return f"{host} refuses ({code}): try again later."


def _page(file: RemoteFile) -> str:
    return (
        f"{_host(file.url)} answers with a web page in place of {Path(file.path).name}: it asks for a login, or your "
        "network shows a page of its own. Open a browser, log in there, and try again."
    )


def _other_size(file: RemoteFile, size: int) -> str:
    return (
        f"{Path(file.path).name} should have {file.bytes} bytes, {_host(file.url)} gives {size}: it is another file. "
        "Nothing was installed."
    )


def _is_page(head: bytes) -> bool:
    start = head.lstrip().lower()
    return start.startswith((b"<!doctype", b"<html"))


def _host(url: str) -> str:
    return urllib.request.Request(url).host or url


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _mark(part: Path) -> Path:
    """What the server called the file's state when the part was begun."""
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)
