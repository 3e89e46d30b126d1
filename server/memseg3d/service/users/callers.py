"""Who calls: the account behind a request's bearer token, by the shared token, the file of tokens or an issuer."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Protocol

from memseg3d.service.users.account import SHARED, Account
from memseg3d.service.users.issuer import TokenRefused
from memseg3d.service.users.token_file import TokenFile, account_of

_SCHEME = b"Bearer "


class UnknownCaller(Exception):
    """A token that opens nothing. reason: a word for the metrics; is_over: it did once, and the sentence says so."""

    def __init__(self, reason: str, message: str, is_over: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.is_over = is_over


class SignIn(Protocol):
    """A service that vouches for people."""

    async def account(self, token: str) -> Account:
        """Who has this token. Raises TokenRefused, KeysUnreachable."""
        ...


@dataclass(frozen=True)
class Callers:
    """The ways in; none of them: whoever reaches the worker is the shared account."""

    token: str | None = None
    tokens: TokenFile | None = None
    sign_in: SignIn | None = None

    @property
    def ask(self) -> bool:
        """Whether a token is asked for."""
        return self.token is not None or self.tokens is not None or self.sign_in is not None

    async def account(self, sent: list[bytes]) -> Account:
        """sent: the request's `Authorization` headers. Raises UnknownCaller, KeysUnreachable."""
        # Of two, a proxy may have looked at the other one.
        if len(sent) != 1 or not sent[0].startswith(_SCHEME):
            raise _unknown("wrong_token" if sent else "no_token")
        token = sent[0][len(_SCHEME) :]
        if self.token is not None and hmac.compare_digest(token, self.token.encode("utf-8")):
            return SHARED
        entry = self.tokens.find(token.decode("latin-1")) if self.tokens is not None else None
        if entry is None:
            return await self._signed_in(token.decode("latin-1"))
        if entry.revoked is not None:
            raise UnknownCaller("revoked_token", "This token was revoked: ask the administrator for a new one.", True)
        return account_of(entry)

    async def _signed_in(self, token: str) -> Account:
        # A web token has three parts; what has not is none of the issuer's, and its keys are not looked at for it.
        if self.sign_in is None or token.count(".") != 2:
            raise _unknown("wrong_token")
        try:
            return await self.sign_in.account(token)
        except TokenRefused as error:
            reason = "expired_token" if error.is_over else "wrong_token"
            raise UnknownCaller(reason, error.message, error.is_over) from error


def _unknown(reason: str) -> UnknownCaller:
    return UnknownCaller(reason, "The token is missing or wrong: send `Authorization: Bearer <token>`.")
