"""Settings of `memseg3d serve`: from a file, the environment and the command line, checked before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import typer
from lib.certificates import Authority
from typer.testing import CliRunner

from memseg3d.cli.serve import serve
from memseg3d.cli.serve_checks import faults_of, settings_of
from memseg3d.cli.serve_options import Options, gathered
from memseg3d.service.users.token_file import TokenFile

FILE = """
host = "0.0.0.0"
port = 8123
retention-hours = 48
tokens = "tokens.json"
data_folder = "data"

[user]
gib = 20
sessions = 8

[oidc]
issuer = "https://sign-in.hospital.example"
audience = "memseg3d"

[audit]
log = "/var/log/memseg3d/audit.log"
"""


def written(folder: Path, content: str) -> Path:
    file = folder / "memseg3d.toml"
    file.write_text(content, "utf-8")
    return file


def test_the_command_line_counts_most_and_the_file_least(tmp_path: Path) -> None:
    environment = {
        "MEMSEG3D_PORT": "9000",
        "MEMSEG3D_USER_SESSIONS": "3",
        "MEMSEG3D_THREADS": "",
        "MEMSEG3D_OTHER": "x",
    }
    options, faults = gathered(written(tmp_path, FILE), environment, {"user_sessions": 5})
    assert faults == []
    assert (options.host, options.port, options.user_sessions, options.threads) == ("0.0.0.0", 9000, 5, None)
    assert (options.retention_hours, options.user_gib) == (48.0, 20.0)
    assert options.oidc_issuer == "https://sign-in.hospital.example"
    # Relative paths start where the file lies.
    assert options.data_folder == tmp_path / "data"
    assert options.audit_log == Path("/var/log/memseg3d/audit.log")
    settings = settings_of(options, tmp_path, None)
    assert settings.user_limits.bytes == 20 * 2**30
    assert settings.issuer is not None
    assert settings.audit is not None


WRONG = {
    "prot = 1": "prot: there is no such setting: is it port?",
    'colour = "red"': "colour: there is no such setting.",
    'port = "8123"': 'port: "8123" is not a whole number.',
    "port = 70000": "port: 70000 does not do: input should be less than or equal to 65535.",
    "port = true": "port: true is not a whole number.",
    "threads = 1.5": "threads: 1.5 is not a whole number.",
    'retention_hours = "a day"': 'retention_hours: "a day" is not a number.',
    "no_token = 1": "no_token: 1 is not true or false.",
    "host = 3": "host: 3 is not text in quotation marks.",
    "data_folder = 3": "data_folder: 3 is not text in quotation marks.",
    'precision = "half"': "precision: \"half\" does not do: input should be 'auto', 'fp32', 'bf16' or 'int8'.",
    'token = "secret"': "token: secrets do not stand here: set MEMSEG3D_TOKEN, or give a file.",
    "[user]\ngb = 3": "user_gb: there is no such setting: is it user_gib?",
    "user = 3": "user: there is no such setting",
    "port == 3": "is no TOML file",
}


@pytest.mark.parametrize("content", WRONG, ids=[f"wrong {number}" for number in range(len(WRONG))])
def test_what_is_wrong_in_the_file_is_told_by_name(tmp_path: Path, content: str) -> None:
    options, faults = gathered(written(tmp_path, content + "\n"), {}, {})
    assert len(faults) == 1
    assert faults[0].startswith(str(tmp_path))
    assert WRONG[content] in faults[0]
    assert 'secret"' not in faults[0]
    assert options == Options()


def test_all_faults_are_told_at_once_by_where_they_stand(tmp_path: Path) -> None:
    file = written(tmp_path, "prot = 1\nthreads = 0\n")
    _, faults = gathered(file, {"MEMSEG3D_PORT": "many"}, {"disk_gib": -1.0})
    assert [fault.partition(": ")[0] for fault in faults] == [str(file), str(file), "MEMSEG3D_PORT", "--disk-gib"]
    assert "cannot be read" in gathered(tmp_path / "none.toml", {}, {})[1][0]


def told(options: dict[str, Any], token: str | None = None) -> str:
    return "\n".join(faults_of(Options(**options), token))


def test_paths_and_what_belongs_together_are_checked(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.write_text("x")
    closed = {"no_token": True}
    assert told(closed) == ""
    assert "no folder" in told({**closed, "data_folder": plain})
    assert "no folder" in told({**closed, "data_folder": plain / "below"})
    assert "is a folder" in told({**closed, "audit_log": tmp_path})
    assert "no folder" in told({**closed, "models": tmp_path / "none"})
    assert "There is no model" in told({**closed, "model": "no-such-model"})
    assert "There is no model" in told({**closed, "model": "+no-such-expert"})
    assert "tokens add NAME" in told({"tokens": tmp_path / "none.json"})
    assert "no file of tokens" in told({"tokens": plain})
    assert "no certificate and key" in told({**closed, "tls_cert": plain})
    assert "without a certificate" in told({**closed, "tls_key": plain})
    assert "set MEMSEG3D_TOKEN" in told({"host": "0.0.0.0"})
    assert "choose one of them" in told(closed, "a-token-of-some-length")
    assert "5 letters" in told({}, "short")
    assert "oidc_issuer is missing" in told({**closed, "oidc_audience": "x"})
    assert "oidc_audience" in told({"oidc_issuer": "https://a.example"})
    assert "multiple of 32" in told({**closed, "image_size": 100})
    assert "say nothing without --ray" in told({**closed, "replicas": 3})
    assert "less than the 3 replicas" in told({**closed, "ray": True, "replicas": 3, "most_replicas": 2})
    if os.name != "nt" and os.geteuid() != 0:
        assert "cannot be written to" in told({**closed, "data_folder": Path("/etc/memseg3d")})


def test_check_config_says_what_is_wrong_or_that_all_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MEMSEG3D_")]:
        monkeypatch.delenv(name)
    app = typer.Typer()
    app.command()(serve)
    certificate, key = Authority.make(tmp_path).issue(tmp_path, "127.0.0.1")
    good = f'host = "0.0.0.0"\ntokens = "tokens.json"\ntls_cert = "{certificate.name}"\ntls_key = "{key.name}"\n'
    file = written(tmp_path, good)
    before = CliRunner().invoke(app, ["--config", str(file), "--check-config"])
    assert (before.exit_code, "There is no file of tokens" in before.output) == (2, True)
    TokenFile(tmp_path / "tokens.json").add("alice", "user")
    after = CliRunner().invoke(app, ["--config", str(file), "--check-config"])
    assert (after.exit_code, after.output.strip()) == (0, "The settings are fine.")
    monkeypatch.setenv("MEMSEG3D_CONFIG", str(written(tmp_path, good + "prot = 1\nthreads = 0\n")))
    broken = CliRunner().invoke(app, ["--check-config"])
    assert broken.exit_code == 2
    assert len(broken.output.strip().splitlines()) == 2
