"""Bearer tokens of an OpenID Connect issuer: JSON web tokens, checked by PyJWT against the keys that it publishes."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import jwt

from memseg3d.service.users.account import Account
from memseg3d.service.users.issuer import Issuer, KeysUnreachable, TokenRefused

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures alone: with a shared secret whoever checks tokens could make them, and `none` is no signature."""
LEEWAY_SECONDS = 30.0
"""By which the clocks of issuer and worker may differ."""
_KEPT_SECONDS, _PAUSE_SECONDS, _FETCH_SECONDS = 3600.0, 10.0, 5.0
_MOST_BYTES = 1 << 20


class OidcTokens:
    """Checks tokens; its keys are fetched when one is needed, and anew where a token names one that is not known."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.pause = _PAUSE_SECONDS
        """Seconds between two looks at the issuer's keys, whatever tokens name."""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = -_KEPT_SECONDS
        self._fetching = asyncio.Lock()

    async def account(self, token: str) -> Account:
        """Who the issuer says that this is. Raises TokenRefused, KeysUnreachable."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenRefused("The token is missing or wrong: it is no token of the sign-in service.") from error
        if header.get("alg") not in ALGORITHMS:
            raise TokenRefused("The token is not signed as this worker asks for: sign in anew.")
        return self._account(token, await self._key(str(header.get("kid", ""))))

    def _account(self, token: str, key: jwt.PyJWK) -> Account:
        claim = self.issuer.name_claim
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                # That of the key, so that a token cannot choose another one for it.
                algorithms=[key.algorithm_name],
                audience=self.issuer.audience,
                issuer=self.issuer.url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", claim]},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenRefused("Your sign-in has expired: sign in again, and use the new token.", True) from error
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            # By kind alone: what is in the token is nobody's business.
            raise TokenRefused(
                f"The sign-in service's token is not for this worker ({type(error).__name__})."
            ) from error
        name = claims[claim]
        if not isinstance(name, str) or not 0 < len(name) <= 255:
            raise TokenRefused(f"The sign-in service's token does not name its user ({claim}).")
        return Account(f"oidc:{name}", name, "administrator" if self._is_administrator(claims) else "user")

    def _is_administrator(self, claims: dict[str, Any]) -> bool:
        if self.issuer.administrators is None:
            return False
        claim, _, value = self.issuer.administrators.partition("=")
        has = claims.get(claim)
        return has == value or (isinstance(has, list) and value in has)

    async def _key(self, name: str) -> jwt.PyJWK:
        now = time.monotonic()
        if name not in self._keys or now - self._fetched > _KEPT_SECONDS:
            async with self._fetching:
                if self._tried + self.pause <= time.monotonic() and (
                    name not in self._keys or now - self._fetched > _KEPT_SECONDS
                ):
                    self._tried = time.monotonic()
                    await self._fetch()
        if not self._keys:
            raise KeysUnreachable
        if name not in self._keys:
            raise TokenRefused(
                "The token is signed with a key that the sign-in service does not publish: sign in anew."
            )
        return self._keys[name]

    async def _fetch(self) -> None:
        try:
            keys = await asyncio.to_thread(self._published)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, jwt.PyJWTError) as error:
            # Known keys hold on: they are as good as they were.
            log.error("the keys of the sign-in service cannot be fetched: %r", error)
            return
        self._keys, self._fetched = keys, time.monotonic()

    def _published(self) -> dict[str, jwt.PyJWK]:
        url = self.issuer.keys_url
        if url is None:
            found = _json(self.issuer.url.rstrip("/") + "/.well-known/openid-configuration")
            if found["issuer"] != self.issuer.url:
                raise ValueError("its discovery document is that of another issuer")
            url = str(found["jwks_uri"])
        keys = {}
        for words in _json(url)["keys"]:
            if words.get("use", "sig") != "sig":
                continue
            try:
                key = jwt.PyJWK(words)
            except jwt.PyJWTError:
                continue  # of a kind that this worker does not know; its other keys count
            if key.algorithm_name in ALGORITHMS:
                keys[str(words.get("kid", ""))] = key
        return keys


def _json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as answer:
        if urlsplit(answer.url).scheme != urlsplit(url).scheme:
            raise ValueError("it leads to an address that is not https")
        return json.loads(answer.read(_MOST_BYTES))
