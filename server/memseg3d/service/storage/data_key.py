"""The key of an encrypted data folder: read, and compared with the one that the folder was made with.

Nothing here needs `cryptography` unless there is a key.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import Vault

KEY_BYTES = 32
MARKER = "encryption.json"
_KEPT = ("volumes", "sessions")
_PLACE, _WORDS = b"the data folder", b"memseg3d"


class DataKeyError(Exception):
    """The key is none, is missing, or is not the folder's, with a sentence that says so."""


def key_of(text: str) -> bytes:
    """A key as people keep it: 64 hexadecimal digits, or base64 of 32 bytes. Raises DataKeyError."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise DataKeyError("The encryption key has not 256 bits: make one with `openssl rand -hex 32` and keep it.")
    return key


def check_folder(folder: Path, key: bytes | None) -> Vault | None:
    """The vault of a data folder, None where it is not encrypted; nothing is written. Raises DataKeyError."""
    marker = folder / MARKER
    try:
        sealed = base64.b64decode(json.loads(marker.read_text("utf-8"))["check"])
    except FileNotFoundError:
        sealed = None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataKeyError(
            f"{marker} is damaged, so nobody can tell whether a key is the right one: put it back from a backup."
        ) from error
    if sealed is None:
        if key is None:
            return None
        if any(path.is_dir() and any(path.iterdir()) for path in (folder / name for name in _KEPT)):
            raise DataKeyError(
                f"The data folder {folder} holds work that is not encrypted: move it away, or name another folder."
            )
        return _vault(key)
    if key is None:
        raise DataKeyError(
            f"The data folder {folder} is encrypted and there is no key: set MEMSEG3D_ENCRYPTION_KEY or "
            "encryption_key_file. Without its key nobody can read it: if it is lost, name another folder."
        )
    vault = _vault(key)
    try:
        is_right = vault.open(sealed, _PLACE) == _WORDS
    except ValueError:
        is_right = False
    if not is_right:
        raise DataKeyError(
            f"The encryption key is not the one of the data folder {folder}: give that one. If it is lost, nobody can "
            "read what lies there: name another folder."
        )
    return vault


def open_folder(folder: Path, key: bytes | None) -> Vault | None:
    """As `check_folder`; a new folder is marked as encrypted with this key. Raises DataKeyError, OSError."""
    vault = check_folder(folder, key)
    marker = folder / MARKER
    if vault is not None and not marker.exists():
        words = {"version": 1, "check": base64.b64encode(vault.seal(_WORDS, _PLACE)).decode("ascii")}
        fresh = marker.with_suffix(".new")
        fresh.write_text(json.dumps(words), "utf-8")
        fresh.replace(marker)
    return vault


def _vault(key: bytes) -> Vault:
    try:
        from memseg3d.service.storage.vault import Vault
    except ImportError as error:
        raise DataKeyError("Encryption needs the package cryptography: pip install 'memseg3d[hospital]'.") from error
    return Vault(key)
