"""Gzip in large pieces: the bytes that Python's own reader finds, and the same refusals."""

from __future__ import annotations

import gzip
import io
import zlib

import numpy as np
import pytest

from memseg3d.files.unzipping import Unzipped

NOISE = np.random.default_rng(3).integers(0, 250, 3 << 20, np.uint8).tobytes()
FILES = {
    "one member": gzip.compress(NOISE, 1),
    "far more than it takes": gzip.compress(bytes(5 << 20)),
    "three members": b"".join(gzip.compress(each, 1) for each in (NOISE, b"", NOISE[:9])),
    "zeros between and behind": gzip.compress(NOISE[:99]) + bytes(7) + gzip.compress(b"more") + bytes(1 << 21),
    "a member of nothing": gzip.compress(b""),
}


def read_all(content: bytes) -> None:
    """Unpack it to its end."""
    source = Unzipped(io.BytesIO(content))
    while source.read(1 << 20):
        pass


@pytest.mark.parametrize("size", [348, 1 << 20, 1 << 23])
@pytest.mark.parametrize("name", FILES)
def test_the_bytes_of_pythons_own_reader_come(name: str, size: int) -> None:
    found, source = [], Unzipped(io.BytesIO(FILES[name]))
    while piece := source.read(size):
        found.append(piece)
    assert all(len(each) == size for each in found[:-1])
    assert b"".join(found) == gzip.decompress(FILES[name])
    assert source.read(size) == b""


@pytest.mark.parametrize("left", [0, 5, 1 << 21, -9, -1])
def test_what_is_cut_off_ends_with_an_error(left: int) -> None:
    with pytest.raises(EOFError):
        read_all(FILES["one member"][:left])


def test_a_checksum_that_differs_and_what_is_no_gzip_are_damage() -> None:
    whole = FILES["one member"]
    for content in (whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:], b"words, words, words", whole + b"words " * 9):
        with pytest.raises(zlib.error):
            read_all(content)
