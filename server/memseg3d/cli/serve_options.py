"""Everything that `memseg3d serve` takes, from a TOML file, the environment and the command line; the later wins.

One table of names, types and bounds for all three; what is wrong is told in sentences that name where it stands.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memseg3d.cases.opening import Backend, Precision

PREFIX = "MEMSEG3D_"
ABOUT_ITSELF = ("config", "check_config")
"""Options that are no settings."""
_SECRETS = {"token": "MEMSEG3D_TOKEN", "encryption_key": "MEMSEG3D_ENCRYPTION_KEY"}

Gib = Annotated[float, Field(ge=0.001, allow_inf_nan=False)]


class Options(BaseModel):
    """The settings by name, as the file has them; `--host` is `host`, and MEMSEG3D_HOST in the environment."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    model: str | None = None
    models: Path | None = None
    image_size: Annotated[int | None, Field(ge=32)] = None
    device: str = "auto"
    threads: Annotated[int | None, Field(ge=1)] = None
    precision: Precision = "auto"
    backend: Backend = "auto"
    data_folder: Path | None = None
    tokens: Path | None = None
    token_stdin: bool = False
    no_token: bool = False
    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_keys_url: str | None = None
    oidc_name_claim: str = "sub"
    oidc_administrators: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    encryption_key_file: Path | None = None
    retention_hours: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 24.0
    volume_gib: Gib = 4.0
    disk_gib: Gib = 64.0
    user_gib: Gib | None = None
    user_sessions: Annotated[int | None, Field(ge=1)] = None
    user_rounds_per_minute: Annotated[int | None, Field(ge=1)] = None
    user_stored_days: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    audit_log: Path | None = None
    audit_mib: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = 16.0
    audit_files: Annotated[int, Field(ge=2)] = 10
    log_format: Literal["text", "json"] = "text"
    drain_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    ray: bool = False
    replicas: Annotated[int, Field(ge=1)] = 2
    most_replicas: Annotated[int | None, Field(ge=1)] = None


_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text in quotation marks",
}


def gathered(file: Path | None, environment: Mapping[str, str], given: Mapping[str, Any]) -> tuple[Options, list[str]]:
    """The settings, and a sentence for each that is wrong (it then counts as left out).

    given: options of the command line that are not None.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    if file is not None:
        values |= _from_file(file, faults)
    named = {name: environment.get(PREFIX + name.upper()) for name in Options.model_fields}
    named = {name: value for name, value in named.items() if value}
    values |= _sound(named, lambda name: PREFIX + name.upper(), faults, strict=False)
    values |= _sound(given, lambda name: f"--{name.replace('_', '-')}", faults, strict=False)
    return Options(**values), faults


def _from_file(file: Path, faults: list[str]) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{file} is no TOML file: {error}.")
        return {}
    except OSError as error:
        faults.append(f"The settings {file} cannot be read ({error.strerror}).")
        return {}
    found = _sound(_flat(content), lambda name: f"{file}: {name}", faults, strict=True)
    for name, value in found.items():
        if isinstance(value, Path):
            # Where the worker is started from says nothing about where its files are.
            found[name] = file.parent / value.expanduser()
    return found


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`[oidc] issuer = ...` is `oidc_issuer = ...`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = above + key.replace("-", "_")
        flat |= _flat(value, name + "_") if isinstance(value, dict) else {name: value}
    return flat


def _sound(values: Mapping[str, Any], place: Any, faults: list[str], strict: bool) -> dict[str, Any]:
    """The values that are right. strict: text is no number."""
    values = dict(values)
    while True:
        try:
            content = json.dumps(values, default=str)
            return Options.model_validate_json(content, strict=strict).model_dump(exclude_unset=True)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                name = str(each["loc"][0])
                if name in values:
                    faults.append(f"{place(name)}: {_sentence(name, values.pop(name), each)}")


def _sentence(name: str, value: Any, error: Any) -> str:
    if name in _SECRETS:
        return f"secrets do not stand here: set {_SECRETS[name]}, or give a file."
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Options.model_fields, 1)
        return "there is no such setting" + (f": is it {near[0]}?" if near else ".")
    said = json.dumps(value, default=str)
    kind = _KINDS.get(error["type"])
    if kind is not None:
        return f"{said} is not {kind}."
    return f"{said} does not do: {error['msg'][0].lower()}{error['msg'][1:]}."
