"""Files of the catalogue come whole or not at all, whatever the server, the network or the disk does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memseg3d.catalogue import download
from memseg3d.catalogue.download import ATTEMPTS, Downloader
from memseg3d.catalogue.entries import CatalogueError, RemoteFile

from .conftest import CONTENT, SHA256, Site


def a_file(site: Site, **words: object) -> RemoteFile:
    """The served file as a catalogue that knows everything has it."""
    return RemoteFile(**{"path": "model.pt", "url": site.url, "bytes": len(CONTENT), "sha256": SHA256, **words})  # type: ignore[arg-type]


def fetch(site: Site, folder: Path, **words: object) -> Path:
    target = folder / "model.pt"
    Downloader(pause=0.0).fetch(a_file(site, **words), target)
    return target


def test_a_file_comes_whole_with_its_progress(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    target = tmp_path / "models" / "model.pt"
    assert Downloader().fetch(a_file(site), target, lambda done, total: told.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in target.parent.iterdir()] == ["model.pt"]


def test_a_cut_connection_is_taken_up_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000, 200_000]
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == ["", "bytes=300000-", "bytes=500000-"]


def test_a_stopped_fetch_goes_on_later(site: Site, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Downloader().fetch(a_file(site), tmp_path / "model.pt", stop)
    assert not (tmp_path / "model.pt").exists()
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges[1].startswith("bytes=")
    assert site.ranges[1] != "bytes=0-"


def test_a_server_that_cannot_go_on_starts_anew(site: Site, tmp_path: Path) -> None:
    site.cuts, site.resumes = [300_000], False
    assert fetch(site, tmp_path).read_bytes() == CONTENT


def test_halves_of_two_files_are_never_put_together(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").write_bytes(b"PK\x03\x04" + b"x" * 1000)
    (tmp_path / "model.pt.part.etag").write_text('"of an older file"', encoding="utf-8")
    assert fetch(site, tmp_path, bytes=0, sha256="").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_let_go(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").write_bytes(b"x" * (len(CONTENT) + 10))
    assert fetch(site, tmp_path).read_bytes() == CONTENT


def test_a_connection_that_always_breaks_is_given_up_with_its_part_kept(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(CatalogueError, match="goes on from there"):
        fetch(site, tmp_path)
    assert (tmp_path / "model.pt.part").stat().st_size == 1000


def test_a_wrong_sum_is_refused_and_nothing_stays(site: Site, tmp_path: Path) -> None:
    site.content = CONTENT[:-1] + b"!"
    with pytest.raises(CatalogueError, match="has the SHA-256"):
        fetch(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_is_refused_before_it_is_fetched(site: Site, tmp_path: Path) -> None:
    site.content = CONTENT * 2
    with pytest.raises(CatalogueError, match=f"should have {len(CONTENT)} bytes"):
        fetch(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_told", [True, False], ids=["as-html", "as-bytes"])
def test_a_login_page_is_never_taken_for_a_model(site: Site, tmp_path: Path, is_told: bool) -> None:
    site.page, site.content = is_told, b"\n<html>Please log in</html>"
    with pytest.raises(CatalogueError, match="asks for a login"):
        fetch(site, tmp_path, bytes=0, sha256="")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "said"), [(401, "known users only"), (404, "no such file any more"), (500, "try again later")]
)
def test_a_refusal_is_told_in_a_sentence(site: Site, tmp_path: Path, status: int, said: str) -> None:
    site.status = status
    with pytest.raises(CatalogueError, match=said):
        fetch(site, tmp_path)


def test_an_optional_file_may_be_missing(site: Site, tmp_path: Path) -> None:
    site.status = 404
    assert not Downloader().fetch(a_file(site, optional=True), tmp_path / "model.pt")


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(CatalogueError, match="is full: make room"):
        fetch(site, tmp_path)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_disk_that_fills_up_meanwhile_leaves_no_model(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").symlink_to("/dev/full")
    with pytest.raises(CatalogueError, match="is full: make room"):
        fetch(site, tmp_path)
    assert not (tmp_path / "model.pt").exists()


def test_a_proxy_gets_the_request(site: Site, tmp_path: Path) -> None:
    far = RemoteFile("model.pt", "http://models.example/model.pt", len(CONTENT), SHA256)
    Downloader(proxy=f"http://127.0.0.1:{site.port}").fetch(far, tmp_path / "model.pt")
    assert site.asked == ["http://models.example/model.pt"]


def test_an_unreachable_server_names_network_and_proxy(tmp_path: Path) -> None:
    gone = RemoteFile("model.pt", "http://127.0.0.1:9/model.pt")
    with pytest.raises(CatalogueError, match="check the network and the proxy"):
        Downloader(pause=0.0).fetch(gone, tmp_path / "model.pt")


def test_no_safe_address_leads_to_an_unsafe_one() -> None:
    request = download.urllib.request.Request("https://models.example/model.pt")
    with pytest.raises(CatalogueError, match="without encryption"):
        download._SameSafety().redirect_request(request, None, 302, "", {}, "http://models.example/model.pt")
