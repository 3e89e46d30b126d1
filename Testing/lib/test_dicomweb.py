"""DICOM-SEG to a PACS: a real Orthanc takes it and gives it back equal; every refusal is explained, none is silent."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicom_tools import geometry_of, read_by_dcmtk, read_by_highdicom, small_phantom
from lib.certificates import Authority
from orthanc import PASSWORD, USER, Orthanc, start_orthanc

from demo.phantom_dicom import write_phantom_series
from MemSeg3DLib.base.background import TaskCancelled
from MemSeg3DLib.cases.dicom_volume import load_series
from MemSeg3DLib.export.dicom.dicomweb import DicomWebError, DicomWebServer, check, store
from MemSeg3DLib.export.dicom.segmentation import write_dicom_seg
from MemSeg3DLib.export.dicom.series import SourceSeries, read_series
from MemSeg3DLib.export.dicom.terminology import describe
from MemSeg3DLib.export.exports import ExportFormat, ExportRequest, export
from MemSeg3DLib.scene.nodes import add_segment, add_segmentation
from MemSeg3DLib.segments.writer import SegmentWriter


@pytest.fixture(scope="module")
def a_pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for all tests of this file."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def a_series(tmp_path_factory: pytest.TempPathFactory) -> SourceSeries:
    folder = tmp_path_factory.mktemp("series")
    write_phantom_series(small_phantom().voxels, geometry_of(small_phantom()), folder)
    return read_series(folder)


@pytest.fixture(scope="module")
def masks(a_series: SourceSeries) -> dict[int, np.ndarray]:
    """Two segments that overlap."""
    first = np.zeros(a_series.grid.shape, bool)
    first[4:9, 20:60, 30:90] = True
    return {1: first, 2: np.roll(first, (2, 7, 11), axis=(0, 1, 2))}


@pytest.fixture
def a_file(a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path) -> Path:
    return write_dicom_seg(a_series, [describe(1, "liver"), describe(2, "tumour")], masks, tmp_path / "seg.dcm").path


def server_of(pacs: Orthanc, **changed: Any) -> DicomWebServer:
    return replace(DicomWebServer(f"{pacs.dicom_web}/", user=USER, password=PASSWORD), **changed)


def wado(pacs: Orthanc, dataset: pydicom.Dataset) -> bytes:
    """An instance as WADO-RS gives it back."""
    path = (
        f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )
    answer = pacs.get(path, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'})
    message = BytesParser().parsebytes(
        b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n\r\n" + answer.content
    )
    (part,) = message.get_payload()
    return bytes(part.get_payload(decode=True))  # type: ignore[union-attr]


def test_the_pacs_gives_back_what_was_sent(
    a_pacs: Orthanc, a_file: Path, a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    sent: list[tuple[int, int]] = []
    stored = store(server_of(a_pacs), [a_file], lambda done, total: sent.append((done, total)))
    dataset = pydicom.dcmread(a_file)
    assert stored.instances == (dataset.SOPInstanceUID,)
    assert sent[0][0] == 0
    assert sent[-1][0] == sent[-1][1] > a_file.stat().st_size
    by_wado = tmp_path / "wado.dcm"
    by_wado.write_bytes(wado(a_pacs, dataset))
    (orthanc_id,) = requests.post(
        f"{a_pacs.url}/tools/lookup", data=dataset.SOPInstanceUID, auth=(USER, PASSWORD), timeout=30
    ).json()
    by_orthanc = tmp_path / "orthanc.dcm"
    by_orthanc.write_bytes(a_pacs.get(f"/instances/{orthanc_id['ID']}/file").content)
    for path in (by_wado, by_orthanc):
        assert pydicom.dcmread(path) == dataset
        for read in (read_by_highdicom, read_by_dcmtk):
            found = read(path, a_series.grid)
            assert np.array_equal(found[1], masks[1])
            assert np.array_equal(found[2], masks[2])


def test_the_pacs_finds_it_under_the_patients_study(a_pacs: Orthanc, a_file: Path, a_series: SourceSeries) -> None:
    store(server_of(a_pacs), [a_file])
    dataset = pydicom.dcmread(a_file)
    query = {"SeriesInstanceUID": dataset.SeriesInstanceUID, "includefield": "00080060,0008103E"}
    (found,) = a_pacs.get(f"/dicom-web/studies/{a_series.datasets[0].StudyInstanceUID}/series", params=query).json()
    assert found["00080060"]["Value"] == ["SEG"]
    assert found["0020000E"]["Value"] == [dataset.SeriesInstanceUID]


def test_a_segmentation_goes_from_the_scene_to_the_pacs(
    scene: Any, a_pacs: Orthanc, a_series: SourceSeries, masks: dict[int, np.ndarray], tmp_path: Path
) -> None:
    paths = [Path(str(one.filename)) for one in a_series.datasets]
    volume, sources = load_series(scene, paths, "CT")
    segmentation = add_segmentation(scene, volume)
    segment = add_segment(segmentation, "liver")
    writer = SegmentWriter(segmentation, volume, [segment])
    writer.write_slice(segment, 0, 5, ((5, 6), (20, 60), (30, 90)), masks[1][5:6, 20:60, 30:90])
    writer.close()
    before = {one["ID"] for one in a_pacs.get("/series?expand").json()}
    done = export(
        ExportRequest(
            ExportFormat.DICOM_WEB,
            segmentation,
            volume,
            find_source=lambda uid: str(sources[uid]),
            server=server_of(a_pacs),
        )
    )
    assert done.files == ()
    assert done.as_text() == f"Sent to 127.0.0.1:{a_pacs.url.rsplit(':', 1)[1]}."
    (new,) = [one for one in a_pacs.get("/series?expand").json() if one["ID"] not in before]
    (tmp_path / "back.dcm").write_bytes(a_pacs.get(f"/instances/{new['Instances'][0]}/file").content)
    found = read_by_dcmtk(tmp_path / "back.dcm", a_series.grid)[1]
    assert np.array_equal(np.flatnonzero(found.any(axis=(1, 2))), [5])
    assert np.array_equal(found[5], masks[1][5])


def test_address_and_password_can_be_tried_out(a_pacs: Orthanc) -> None:
    check(server_of(a_pacs))
    with pytest.raises(DicomWebError, match="does not accept the user, password or token"):
        check(server_of(a_pacs, password="wrong"))
    with pytest.raises(DicomWebError, match="no DICOMweb service at this address"):
        check(server_of(a_pacs, url=f"{a_pacs.url}/elsewhere"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"password": "wrong"}, "does not accept the user, password or token"),
        ({"user": None, "token": "nonsense"}, "does not accept the user, password or token"),
    ],
)
def test_a_pacs_that_refuses_has_nothing_of_it(
    a_pacs: Orthanc, a_file: Path, changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DicomWebError, match=reason) as refused:
        store(server_of(a_pacs, **changed), [a_file])
    assert "127.0.0.1:" in str(refused.value)
    found = requests.post(
        f"{a_pacs.url}/tools/lookup", data=pydicom.dcmread(a_file).SOPInstanceUID, auth=(USER, PASSWORD), timeout=30
    )
    assert found.json() == []


def test_a_file_that_is_damaged_is_named(a_pacs: Orthanc, a_file: Path) -> None:
    dataset = pydicom.dcmread(a_file)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
        delattr(dataset, keyword)
    dataset.save_as(a_file)
    with pytest.raises(DicomWebError, match=r"seg\.dcm|refused"):
        store(server_of(a_pacs), [a_file])


def test_cancel_ends_the_upload(a_pacs: Orthanc, a_file: Path) -> None:
    def cancel(sent: int, total: int) -> None:
        if sent > 0:
            raise TaskCancelled

    with pytest.raises(TaskCancelled):
        store(server_of(a_pacs), [a_file], cancel)
    found = requests.post(
        f"{a_pacs.url}/tools/lookup", data=pydicom.dcmread(a_file).SOPInstanceUID, auth=(USER, PASSWORD), timeout=30
    )
    assert found.json() == []


@dataclass
class Answer:
    """What a PACS of the tests answers, and what it was asked."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def a_server_that_answers(answer: Answer, wrap: Callable[[Any], Any] | None = None) -> Iterator[str]:
    """A server on this computer that gives always the same answer; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(answer.status)
            for key, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *words: object) -> None:
            """Silence."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if wrap is not None:
        server.socket = wrap(server.socket)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if wrap else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def report(uid: str, code: int | None = None, warning: int | None = None) -> bytes:
    """A STOW-RS answer in DICOM JSON."""
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if code is not None:
        item["00081197"] = {"vr": "US", "Value": [code]}
        return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()
    if warning is not None:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (409, 0x0122, r"seg\.dcm: it does not take DICOM-SEG \(code 0122\)\. Nothing was stored"),
        (409, 0xA7FF, "it is out of space"),
        (202, 0xA900, "does not fit its type"),
        (200, 0x0110, "failed while processing"),
        (409, 0xC001, "cannot understand the file"),
        (409, 0x0124, "not allowed to store there"),
        (409, 0x9999, "no reason was given"),
    ],
)
def test_a_failed_instance_is_explained(a_file: Path, status: int, code: int, reason: str) -> None:
    uid = str(pydicom.dcmread(a_file).SOPInstanceUID)
    with (
        a_server_that_answers(Answer(status, report(uid, code))) as url,
        pytest.raises(DicomWebError, match=reason),
    ):
        store(DicomWebServer(url), [a_file])


def test_what_was_stored_is_told_where_something_was_not(
    a_series: SourceSeries, masks: dict[int, np.ndarray], a_file: Path, tmp_path: Path
) -> None:
    other = write_dicom_seg(a_series, [describe(1, "liver")], masks, tmp_path / "other.dcm").path
    uid = str(pydicom.dcmread(other).SOPInstanceUID)
    with (
        a_server_that_answers(Answer(202, report(uid, 0x0111))) as url,
        pytest.raises(DicomWebError, match=r"other\.dcm: it has this very instance already .*1 of 2 files were stored"),
    ):
        store(DicomWebServer(url), [a_file, other])


def test_a_warning_reaches_the_user(a_file: Path) -> None:
    uid = str(pydicom.dcmread(a_file).SOPInstanceUID)
    with a_server_that_answers(Answer(202, report(uid, warning=0xB000))) as url:
        assert store(DicomWebServer(url), [a_file]).warnings == (
            "Stored, but the PACS changed some of its attributes.",
        )


@pytest.mark.parametrize("status", [200, 202])
def test_a_page_of_a_gateway_is_no_receipt(a_file: Path, status: int) -> None:
    page = Answer(status, b"<html>Please log in</html>", {"Content-Type": "text/html"})
    with a_server_that_answers(page) as url:
        for call in (lambda: store(DicomWebServer(url), [a_file]), lambda: check(DicomWebServer(url))):
            with pytest.raises(DicomWebError, match=r"no answer of a DICOMweb service.*log in"):
                call()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"error": "queued"}', report("1.2.3"), b"<?xml version='1.0'?><NativeDicomModel/>"]
)
def test_what_a_pacs_does_not_confirm_is_told(a_file: Path, body: bytes) -> None:
    with a_server_that_answers(Answer(202, body)) as url:
        (told,) = store(DicomWebServer(url), [a_file]).warnings
    assert "did not confirm 1 of 1 files" in told
    with a_server_that_answers(Answer(200, report(pydicom.dcmread(a_file).SOPInstanceUID))) as url:
        assert store(DicomWebServer(url), [a_file]).warnings == ()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "does not understand"),
        (403, "not allowed"),
        (405, "STOW-RS"),
        (409, "stored nothing and gave no reason"),
        (413, "too large"),
        (415, "does not take DICOM-SEG"),
        (500, "has failed itself"),
        (507, "disk is full"),
    ],
)
def test_every_refusal_has_a_sentence(a_file: Path, status: int, reason: str) -> None:
    with (
        a_server_that_answers(Answer(status, b"<html>no</html>")) as url,
        pytest.raises(DicomWebError, match=reason) as refused,
    ):
        store(DicomWebServer(url), [a_file])
    assert url.removeprefix("http://") in str(refused.value)


def test_nothing_follows_a_redirection_to_another_host(a_file: Path) -> None:
    elsewhere = Answer()
    with a_server_that_answers(elsewhere) as other:
        here = Answer(307, b"", {"Location": f"{other}/studies"})
        with (
            a_server_that_answers(here) as url,
            pytest.raises(DicomWebError, match="another address, which was not confirmed"),
        ):
            store(DicomWebServer(url), [a_file])
    assert elsewhere.asked == []


def test_the_token_travels_in_its_header_alone(a_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A password of the user's own file must not be sent in the token's place.
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password private\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answer = Answer()
    with a_server_that_answers(answer) as url:
        store(DicomWebServer(url, token=" token-7 "), [a_file])
        store(DicomWebServer(url), [a_file])
    (_, first, body), (_, second, _) = answer.asked
    assert first["authorization"] == "Bearer token-7"
    assert "authorization" not in second
    assert first["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert a_file.read_bytes() in body
    assert "token-7" not in repr(DicomWebServer(url, token="token-7"))


def test_a_proxy_never_sees_this_computers_own_pacs(a_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, answer = Answer(), Answer()
    with a_server_that_answers(proxy) as proxy_url, a_server_that_answers(answer) as url:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy_url)
        monkeypatch.delenv("no_proxy", raising=False)
        store(DicomWebServer(url), [a_file])
        assert proxy.asked == []
        # Elsewhere the hospital's proxy is taken.
        store(DicomWebServer("http://pacs.hospital.example/dicom-web"), [a_file])
    assert [path for path, _, _ in proxy.asked] == ["http://pacs.hospital.example/dicom-web/studies"]
    assert len(answer.asked) == 1


def test_certificates_are_checked_against_the_hospitals_own(a_file: Path, tmp_path: Path) -> None:
    hospital = Authority.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*hospital.issue(tmp_path, "127.0.0.1"))
    answer = Answer()
    with a_server_that_answers(answer, lambda plain: context.wrap_socket(plain, server_side=True)) as url:
        with pytest.raises(DicomWebError, match="is not trusted: choose the file"):
            store(DicomWebServer(url), [a_file])
        assert answer.asked == []
        store(DicomWebServer(url, ca_file=str(hospital.file)), [a_file])
    assert len(answer.asked) == 1


def test_a_pacs_that_is_not_there_is_told(a_file: Path) -> None:
    with a_server_that_answers(Answer()) as url:
        pass
    with pytest.raises(DicomWebError, match="cannot be reached"):
        store(DicomWebServer(url), [a_file])


@pytest.mark.parametrize("url", ["", "pacs.example", "ftp://pacs", "https://", "http://a:b:c/", "https://pacs:99999/"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(DicomWebError, match="no address"):
        DicomWebServer(url)


def test_a_password_in_the_address_is_refused() -> None:
    with pytest.raises(DicomWebError, match="in their own fields"):
        DicomWebServer("https://me:secret@pacs.example/dicom-web")
    with pytest.raises(DicomWebError, match="There is no file"):
        DicomWebServer("https://pacs.example/dicom-web", ca_file="absent.pem")
    assert DicomWebServer("https://pacs.example:8443/dicom-web").host == "pacs.example:8443"
