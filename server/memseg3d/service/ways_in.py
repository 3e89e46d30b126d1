"""Who may come in and what is written down of it, as the settings say."""

from __future__ import annotations

from memseg3d.service.settings import Settings
from memseg3d.service.users.audit import AuditLog
from memseg3d.service.users.callers import Callers
from memseg3d.service.users.token_file import TokenFile


def callers_of(settings: Settings) -> Callers:
    """The ways in."""
    tokens = None if settings.tokens is None else TokenFile(settings.tokens)
    if settings.issuer is None:
        return Callers(settings.token, tokens)
    # Its library is an extra.
    from memseg3d.service.users.oidc import OidcTokens

    return Callers(settings.token, tokens, OidcTokens(settings.issuer))


def audit_of(settings: Settings) -> AuditLog | None:
    """The audit log, where one is wanted. Raises OSError."""
    wanted = settings.audit
    return None if wanted is None else AuditLog(wanted.path, wanted.file_bytes, wanted.files)
