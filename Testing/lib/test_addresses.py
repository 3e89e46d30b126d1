"""Addresses as users type them: put in order where that is safe, refused with what to type otherwise."""

from __future__ import annotations

import pytest

from MemSeg3DLib.base.errors import WorkerError
from MemSeg3DLib.worker.connection.addresses import read_address


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://worker.hospital.example", "https://worker.hospital.example"),
        ("  https://Worker.Hospital.Example:8443/ ", "https://worker.hospital.example:8443"),
        ("worker.hospital.example:8443", "https://worker.hospital.example:8443"),
        ("127.0.0.1:8123", "http://127.0.0.1:8123"),
        ("localhost:8123", "http://localhost:8123"),
        ("[::1]:8123", "http://[::1]:8123"),
        ("https://worker.hospital.example/v1/health", "https://worker.hospital.example"),
        ("https://gateway.example/memseg3d/", "https://gateway.example/memseg3d"),
        ("https://gateway.example/memseg3d/v1", "https://gateway.example/memseg3d"),
        ("https://klinik-münchen.example", "https://xn--klinik-mnchen-3ob.example"),
        ("https://10.1.2.3", "https://10.1.2.3"),
        ("HTTPS://host.", "https://host"),
    ],
)
def test_an_address_is_put_in_order(typed: str, url: str) -> None:
    address = read_address(typed)
    assert address.url == url
    assert read_address(address.url) == address or address.notes, "and stays as it is from then on"
    assert not read_address(address.url).notes


def test_what_was_changed_is_told() -> None:
    assert "https:// is taken" in read_address("worker.example").notes[0]
    assert "/v1/info was left out" in read_address("https://worker.example/v1/info").notes[0]
    assert read_address("https://worker.example:8443").notes == ()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Enter the worker's address"),
        ("http://0.0.0.0:8123", "what a worker listens on"),
        ("https://[::]:8123", "what a worker listens on"),
        ("http://worker.hospital.example", "readable for everybody"),
        ("http://10.1.2.3:8123", "readable for everybody"),
        ("http://localhost.evil.example", "readable for everybody"),
        ("ftp://worker.example", "not how a worker is reached"),
        ("https://", "names no computer"),
        ("https://kim:secret@worker.example", "leave them out"),
        ("https://worker.example:99999", "port"),
        ("https://worker.example:0", "Port 0"),
        ("https://worker.example:port", "port"),
        ("https://worker.example/?token=1", "after a ?"),
        ("https://worker example", "space"),
        ("https://worker..example", "spelling"),
        ("https://[::1", "no address"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_to_do(typed: str, said: str) -> None:
    with pytest.raises(WorkerError) as caught:
        read_address(typed)
    assert caught.value.code == "bad_address"
    assert said in caught.value.message
    assert "secret" not in caught.value.message


def test_plain_text_to_another_computer_needs_the_users_word() -> None:
    assert read_address("http://10.1.2.3:8123", allow_plain_text=True).url == "http://10.1.2.3:8123"
    assert not read_address("http://10.1.2.3:8123", allow_plain_text=True).is_local
