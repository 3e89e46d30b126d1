"""Seals what is kept with AES-256-GCM: records with a nonce of their own, files in blocks under a key of their own.

What was changed, cut, or put into another's place does not open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_MAGIC = b"memseg3d sealed 1\n"
_SALT, _NONCE, _TAG = 32, 12, 16
_BLOCK = 1 << 20
"""Bytes of a file that are sealed together."""


class Broken(ValueError):
    """Not sealed with this key, or not as it was sealed."""


class Vault:
    """Any thread may use it."""

    def __init__(self, key: bytes) -> None:
        """key: 32 bytes."""
        self._key = key
        self._records = AESGCM(_derived(key, b"", b"records"))

    def seal(self, content: bytes, place: bytes) -> bytes:
        """One record. place: what it opens at, and nowhere else."""
        nonce = os.urandom(_NONCE)
        return nonce + self._records.encrypt(nonce, content, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """The record. Raises Broken."""
        try:
            return self._records.decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
        except (InvalidTag, ValueError) as error:
            raise Broken("a record does not open") from error

    def writer(self, file: BinaryIO) -> SealedWriter:
        """Seals what is written to it; complete only once it was closed."""
        salt = os.urandom(_SALT)
        file.write(_MAGIC + salt)
        return SealedWriter(file, self._file_key(salt))

    def blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """The content of a sealed file, piece by piece. Raises Broken."""
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Broken("the file is not sealed")
        key = self._file_key(file.read(_SALT))
        number, sealed = 0, file.read(_BLOCK + _TAG)
        while True:
            following = file.read(_BLOCK + _TAG)
            try:
                yield key.decrypt(_numbered(number, not following), sealed, None)
            except (InvalidTag, ValueError) as error:
                raise Broken("a block of the file does not open") from error
            if not following:
                return
            number, sealed = number + 1, following

    def array(self, file: BinaryIO, size: int) -> np.ndarray:
        """The content as `size` bytes (uint8) in memory that no file stands for. Raises Broken."""
        found = np.empty(size, np.uint8)
        end = 0
        for block in self.blocks(file):
            if end + len(block) > size:
                raise Broken("the file holds more than it should")
            found[end : end + len(block)] = np.frombuffer(block, np.uint8)
            end += len(block)
        if end != size:
            raise Broken("the file holds less than it should")
        found.setflags(write=False)
        return found

    def _file_key(self, salt: bytes) -> AESGCM:
        return AESGCM(_derived(self._key, salt, b"file"))


class SealedWriter:
    """See `Vault.writer`."""

    def __init__(self, file: BinaryIO, key: AESGCM) -> None:
        self._file = file
        self._key = key
        self._waiting = bytearray()
        self._number = 0

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        self._waiting += data
        # One block is held back: the last one is sealed as such, so that none can be cut off.
        while len(self._waiting) > _BLOCK:
            self._seal(bytes(self._waiting[:_BLOCK]), False)
            del self._waiting[:_BLOCK]
        return len(data)

    def close(self) -> None:
        """Seal the rest. The file itself stays open."""
        self._seal(bytes(self._waiting), True)
        self._waiting.clear()

    def _seal(self, block: bytes, is_last: bool) -> None:
        self._file.write(self._key.encrypt(_numbered(self._number, is_last), block, None))
        self._number += 1


def _numbered(number: int, is_last: bool) -> bytes:
    """The nonce of a block: each is used once under the file's own key."""
    return number.to_bytes(_NONCE - 1, "big") + bytes([is_last])


def _derived(key: bytes, salt: bytes, use: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, b"memseg3d " + use).derive(key)
