"""What is wrong with the settings of `memseg3d serve`, in sentences, before anything is started."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from memseg3d.cases.opening import NetworkError, check_device
from memseg3d.cli.serve_options import Options
from memseg3d.network.models import ENVIRONMENT, ModelNotFound, find_model
from memseg3d.service.server import check_token, check_tokens, is_loopback
from memseg3d.service.settings import AuditSettings, Limits, Settings, UserLimits
from memseg3d.service.storage.data_key import DataKeyError, check_folder, key_of
from memseg3d.service.users.issuer import Issuer, OidcError
from memseg3d.service.web.certificate import Certificate, ServeError

MOST_KEY_BYTES = 1 << 16
"""Read of the file of a key: a device in its place has no end."""
EXTRA = "pip install 'memseg3d[hospital]'"


def faults_of(options: Options, token: str | None) -> list[str]:
    """A sentence for everything that would keep the worker from starting, or from doing what it was told."""
    return list(_faults(options, token))


def certificate_of(options: Options) -> Certificate | None:
    """What TLS needs; None: plain HTTP."""
    return None if options.tls_cert is None else Certificate(options.tls_cert, options.tls_key)


def issuer_of(options: Options) -> Issuer | None:
    """The sign-in service."""
    if options.oidc_issuer is None:
        return None
    claims = {"name_claim": options.oidc_name_claim, "administrators": options.oidc_administrators}
    return Issuer(options.oidc_issuer, options.oidc_audience or "", options.oidc_keys_url, **claims)  # type: ignore[arg-type]


def encryption_key_of(options: Options) -> bytes | None:
    """The key of the data folder, from its file or the environment. Raises DataKeyError."""
    text = os.environ.get("MEMSEG3D_ENCRYPTION_KEY") or None
    if options.encryption_key_file is not None:
        try:
            with options.encryption_key_file.open("rb") as stream:
                text = stream.read(MOST_KEY_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise DataKeyError(f"encryption_key_file: {options.encryption_key_file} cannot be read.") from error
    return None if text is None else key_of(text)


def settings_of(options: Options, folder: Path, token: str | None) -> Settings:
    """As the service takes them."""
    limits = Limits(volume_bytes=int(options.volume_gib * 2**30), disk_bytes=int(options.disk_gib * 2**30))
    user_limits = UserLimits(
        bytes=None if options.user_gib is None else int(options.user_gib * 2**30),
        sessions=options.user_sessions,
        rounds_per_minute=options.user_rounds_per_minute,
        stored_days=options.user_stored_days,
    )
    audit = None
    if options.audit_log is not None:
        audit = AuditSettings(options.audit_log, int(options.audit_mib * 2**20), options.audit_files)
    return Settings(
        folder,
        token,
        limits,
        options.retention_hours,
        tokens=options.tokens,
        issuer=issuer_of(options),
        user_limits=user_limits,
        audit=audit,
        encryption_key=encryption_key_of(options),
    )


def _faults(options: Options, token: str | None) -> Iterator[str]:
    yield from _ways_in(options, token)
    yield from _sign_in(options)
    if options.tls_key is not None and options.tls_cert is None:
        yield "There is a --tls-key without a certificate: give --tls-cert too."
    certificate = certificate_of(options)
    if certificate is not None:
        yield from _raised(certificate.check)
    if options.image_size is not None and options.image_size % 32:
        yield f"SAM 2 takes images of a multiple of 32 pixels, not {options.image_size}: choose 512 or 1024."
    yield from _raised(lambda: check_device(options.device))
    yield from _models(options)
    yield from _scale(options)
    try:
        key = encryption_key_of(options)
        if options.data_folder is not None:
            check_folder(options.data_folder, key)
    except DataKeyError as error:
        yield str(error)
    for name, path in (("data_folder", options.data_folder), ("audit_log", options.audit_log)):
        if path is not None:
            yield from _writable(name, path)


def _scale(options: Options) -> Iterator[str]:
    if not options.ray:
        if options.model_fields_set & {"replicas", "most_replicas"}:
            yield "replicas and most_replicas say nothing without --ray: give that too."
        return
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("httpx") is None:
        yield "--ray needs Ray Serve and httpx: pip install 'memseg3d[scale]'."
    if options.most_replicas is not None and options.most_replicas < options.replicas:
        yield f"most_replicas is {options.most_replicas}, which is less than the {options.replicas} replicas."


def _models(options: Options) -> Iterator[str]:
    # The environment's folder serves every command, and need not be there.
    folder = options.models
    if folder is not None and not folder.is_dir() and str(folder) != os.environ.get(ENVIRONMENT):
        yield f"models: there is no folder {folder}."
    try:
        find_model(options.model, options.models)
    except ModelNotFound as error:
        # A network and an expert have a name each.
        first, plus, second = str(options.model).rpartition("+")
        try:
            for part in (first or None, second) if plus else ():
                find_model(part, options.models)
        except ModelNotFound as inner:
            yield str(inner)
        if not plus:
            yield str(error)


def _ways_in(options: Options, token: str | None) -> Iterator[str]:
    is_asked = token is not None or options.tokens is not None or options.oidc_issuer is not None
    if is_asked and options.no_token:
        yield "There is a token, and --no-token asks for none: choose one of them."
    if token is not None:
        yield from _raised(lambda: check_token(token))
    tokens = options.tokens
    if tokens is not None:
        yield from _raised(lambda: check_tokens(tokens))
    if not is_asked and not is_loopback(options.host):
        yield (
            f"{options.host} can be reached from other computers: set MEMSEG3D_TOKEN or use --token-stdin, or give a "
            "file of --tokens or a sign-in service."
        )
    elif not is_asked and not options.no_token:
        yield (
            "There is no token: set MEMSEG3D_TOKEN, use --token-stdin, give a file of --tokens or a sign-in service, "
            "or allow it with --no-token."
        )


def _sign_in(options: Options) -> Iterator[str]:
    issuer = issuer_of(options)
    if issuer is None:
        if options.oidc_audience or options.oidc_keys_url or options.oidc_administrators:
            yield "oidc_issuer is missing: the other settings of the sign-in service say nothing without it."
        return
    try:
        issuer.check()
    except OidcError as error:
        yield str(error)
    if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
        yield f"A sign-in service needs PyJWT and cryptography: {EXTRA}."


def _raised(check: object) -> Iterator[str]:
    try:
        check()  # type: ignore[operator]
    except (ServeError, NetworkError) as error:
        yield str(error)


def _writable(name: str, path: Path) -> Iterator[str]:
    """Whether the path, or the first folder above it that is there, can be written to."""
    there = path
    with contextlib.suppress(OSError):
        while not there.exists() and there != there.parent:
            there = there.parent
    if name == "data_folder" and path.exists() and not path.is_dir():
        yield f"{name}: {path} is no folder."
    elif name == "audit_log" and path.is_dir():
        yield f"{name}: {path} is a folder: name a file in it."
    elif there != path and not there.is_dir():
        yield f"{name}: {there} is no folder."
    elif not os.access(there, os.W_OK):
        yield f"{name}: {there} cannot be written to by this user."
