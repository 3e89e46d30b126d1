"""An encrypted data folder: nothing of an image or a mask lies there as it is, and without the key nobody starts."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memseg3d.files import Geometry, write_slabs
from memseg3d.service.journal import Journal, JournalError
from memseg3d.service.storage.data_key import DataKeyError, check_folder, key_of, open_folder
from memseg3d.service.storage.vault import Broken, Vault
from memseg3d.service.users.token_file import TokenFile
from Testing.audits.users import Caller, phantom, state, work

from .conftest import TOKEN, WorkerHere

KEY, OTHER = bytes(range(32)), bytes(32)
MIB = 1 << 20


def sealed(vault: Vault, content: bytes) -> bytes:
    file = io.BytesIO()
    writer = vault.writer(file)
    for start in range(0, len(content), 300_001):
        writer.write(content[start : start + 300_001])
    writer.close()
    return file.getvalue()


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB], ids=str)
def test_files_open_as_they_were_and_no_piece_can_be_changed(size: int) -> None:
    vault = Vault(KEY)
    content = np.random.default_rng(size).bytes(size)
    file = sealed(vault, content)
    assert vault.array(io.BytesIO(file), size).tobytes() == content
    assert file != sealed(vault, content)
    if size > 100:
        assert content[:100] not in file
    block = MIB + 16
    wrong = [file[:-1], file + b"x", file[:20], b"", changed(file, 20), changed(file, len(file) - 1)]
    if size > 2 * MIB:
        start = len(file) - 3 * block
        wrong.append(file[: start + block])  # whole blocks are cut off
        blocks = [file[start + number * block :][:block] for number in (1, 0, 2)]
        wrong.append(file[:start] + b"".join(blocks))
    for each in wrong:
        with pytest.raises(Broken):
            vault.array(io.BytesIO(each), size)
    with pytest.raises(Broken):
        Vault(OTHER).array(io.BytesIO(file), size)
    with pytest.raises(Broken):
        vault.array(io.BytesIO(file), size + 1)


def test_journals_are_sealed_record_by_record_in_their_place(tmp_path: Path) -> None:
    vault = Vault(KEY)
    (tmp_path / "a").mkdir()
    journal = Journal.create(tmp_path / "a" / "journal.ndjson", {"type": "session", "secret": "left kidney"}, vault)
    journal.append({"type": "begun"})
    path = journal.path
    assert b"kidney" not in path.read_bytes()
    assert [each["type"] for each in Journal.open(path, vault)[1]] == ["session", "begun"]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for wrong, where in ((Vault(OTHER), path), (None, path), (vault, tmp_path / "b" / path.name)):
        with pytest.raises(JournalError):
            Journal.open(where, wrong)
    # The good prefix is kept here, too.
    content = path.read_bytes()
    path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    reopened, records = Journal.open(path, vault)
    assert len(records) == 1
    reopened.append({"type": "again"})
    assert len(Journal.open(path, vault)[1]) == 2


def test_a_key_is_read_and_held_against_the_folder(tmp_path: Path) -> None:
    assert key_of(KEY.hex() + "\n") == KEY
    with pytest.raises(DataKeyError, match="openssl rand -hex 32"):
        key_of("a password")
    assert open_folder(tmp_path, None) is None
    assert check_folder(tmp_path, KEY) is not None
    assert list(tmp_path.iterdir()) == []
    assert open_folder(tmp_path, KEY) is not None
    assert open_folder(tmp_path, KEY) is not None
    with pytest.raises(DataKeyError, match="there is no key"):
        open_folder(tmp_path, None)
    with pytest.raises(DataKeyError, match="not the one of the data folder"):
        open_folder(tmp_path, OTHER)
    (tmp_path / "encryption.json").write_text("{}")
    with pytest.raises(DataKeyError, match="damaged"):
        open_folder(tmp_path, KEY)
    (tmp_path / "plain" / "volumes" / "x").mkdir(parents=True)
    with pytest.raises(DataKeyError, match="not encrypted"):
        open_folder(tmp_path / "plain", KEY)


def test_a_worker_keeps_nothing_as_it_is_and_finds_it_all_again(
    serve_here: Callable[..., WorkerHere], tmp_path: Path
) -> None:
    here = serve_here(encryption_key=KEY)
    me = Caller(here.url, TOKEN)
    things = work(me, 1)
    before = state(me, things)
    file = tmp_path / "a.nrrd"
    grid = Geometry.regular(things.voxels.shape, (3.0, 1.0, 1.0))
    write_slabs(file, iter(things.voxels[:, None]), things.voxels.dtype, grid)
    assert me.call("POST", "/volumes?filename=a.nrrd", data=file.read_bytes()).status_code == 201
    assert me.put(things.voxels).status_code == 200
    lines = me.call("GET", f"/sessions/{things.session}/rounds/{things.round}/events").content
    here.stop()
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    content = {path.name: path.read_bytes() for path in kept}
    assert len([path for path in kept if path.name == "voxels.raw"]) == 2
    assert not (tmp_path / "data" / "features").exists()
    for secret in (things.voxels[7].tobytes(), b'"prompts"', b'"bits"'):
        assert not any(secret in each for each in content.values())
    again = serve_here(encryption_key=KEY)
    me = Caller(again.url, TOKEN)
    assert state(me, things) == before
    assert me.call("GET", f"/sessions/{things.session}/rounds/{things.round}/events").content == lines
    # A voxel that the disk has changed is noticed as ever.
    voxels = tmp_path / "data" / "volumes" / things.volume / "voxels.raw"
    damaged = bytearray(voxels.read_bytes())
    damaged[5000] ^= 1
    voxels.write_bytes(bytes(damaged))
    assert me.put(things.voxels).status_code == 201
    assert state(me, things) == before
    again.stop()
    for key in (None, OTHER):
        with pytest.raises(DataKeyError):
            serve_here(encryption_key=key)


def test_equal_voxels_of_two_users_are_one_sealed_file(serve_here: Callable[..., WorkerHere], tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    made: list[Any] = [tokens.add(name, "user") for name in ("alice", "bob")]
    here = serve_here(encryption_key=KEY, tokens=tokens.path)
    for token in made:
        assert Caller(here.url, token).put(phantom(1)).status_code == 201
    here.worker.sweep()
    assert len({os.stat(path).st_ino for path in (tmp_path / "data" / "volumes").glob("*/voxels.raw")}) == 1
    work(Caller(here.url, made[1]), 1)
