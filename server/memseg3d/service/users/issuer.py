"""An OpenID Connect issuer as an administrator names it, and how its tokens are refused. `oidc.py` checks them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


class OidcError(Exception):
    """The settings of an issuer make no sense, with a sentence that says why."""


class TokenRefused(Exception):
    """A token that the issuer's keys do not vouch for, or not for this worker. is_over: it has expired."""

    def __init__(self, message: str, is_over: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_over = is_over


class KeysUnreachable(Exception):
    """The issuer's keys cannot be had now: nobody can tell whether a token is right."""


@dataclass(frozen=True)
class Issuer:
    """url: as in tokens' `iss`; audience: as in their `aud`; keys_url: of its JWKS, None: by its discovery document.

    name_claim: what tells its users apart, and never changes. administrators: "claim=value" that makes one.
    """

    url: str
    audience: str
    keys_url: str | None = None
    name_claim: str = "sub"
    administrators: str | None = None

    def check(self) -> None:
        """Raise OidcError where nobody could sign in by this."""
        for name, url in (("oidc_issuer", self.url), ("oidc_keys_url", self.keys_url)):
            parts = urlsplit(url or "https://-")
            is_here = parts.hostname in ("127.0.0.1", "localhost", "::1")
            if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
                raise OidcError(f"{name}: {url!r} is no https address: anybody on the way could forge the keys.")
        if not self.audience:
            raise OidcError("oidc_audience: there is none: tokens for other programs would open this worker.")
        if self.administrators is not None and not all(self.administrators.partition("=")):
            raise OidcError("oidc_administrators: write it as claim=value, such as groups=memseg3d-administrators.")
