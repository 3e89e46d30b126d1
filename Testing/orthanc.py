"""A real PACS for the tests: Orthanc with its DICOMweb plug-in, on a free port and with a password."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from dicom_tools import tool

USER, PASSWORD = "radiologist", "secret: with a colon"
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/local/share/orthanc/plugins")


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc. url: its address; dicom_web: root of its DICOMweb service."""

    url: str

    @property
    def dicom_web(self) -> str:
        return f"{self.url}/dicom-web"

    def get(self, path: str, **words: object) -> requests.Response:
        """Orthanc's own REST interface, with the right password."""
        answer = requests.get(f"{self.url}{path}", auth=(USER, PASSWORD), timeout=30, **words)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer


@contextlib.contextmanager
def start_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start it in `folder` and stop it at the end; skips where it is not installed (see `tool`)."""
    program = tool("Orthanc", "orthanc")
    found = [path for one in PLUGIN_FOLDERS for path in Path(one).glob("libOrthancDicomWeb*")]
    if not found:
        if os.environ.get("MEMSEG3D_DICOM_TOOLS") == "required":
            pytest.fail("Orthanc's DICOMweb plug-in is missing although this run promises it (orthanc-dicomweb).")
        pytest.skip("Orthanc's DICOMweb plug-in is not installed (Debian package orthanc-dicomweb).")
    port = _free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(found[0])],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), "utf-8")
    log = folder / "orthanc.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=output, stderr=output, cwd=folder)
        try:
            server = Orthanc(f"http://127.0.0.1:{port}")
            _wait_for(server, process, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            server.get("/system")
            return
        time.sleep(0.1)
    pytest.fail(f"Orthanc did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
