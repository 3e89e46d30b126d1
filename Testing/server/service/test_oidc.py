"""Sign-in by OpenID Connect: tokens of a local issuer with keys made here, and everything that is no such token."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from memseg3d.service.users.issuer import Issuer, KeysUnreachable, OidcError, TokenRefused
from memseg3d.service.users.oidc import OidcTokens
from Testing.audits.users import Caller, work

from .conftest import WorkerHere

AUDIENCE = "memseg3d-worker"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NEXT = ec.generate_private_key(ec.SECP256R1())
STRANGERS = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(key: Any, name: str, algorithm: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": name, "alg": algorithm, "use": "sig"}


class LocalIssuer:
    """An HTTP server with a discovery document and keys, as sign-in services have them."""

    def __init__(self) -> None:
        issuer = self
        self.keys = [published(RSA, "first", "RS256"), {"kty": "odd", "kid": "odd"}]
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                words: Any = {"keys": issuer.keys}
                if self.path.startswith("/.well-known"):
                    words = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(words).encode())

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, key: Any = RSA, name: str = "first", algorithm: str = "RS256", **changes: Any) -> str:
        """A token for alice that is good for ten minutes, but for the changes; None: left out."""
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 600, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm, headers={"kid": name})


@pytest.fixture
def an_issuer() -> Iterator[LocalIssuer]:
    issuer = LocalIssuer()
    yield issuer
    issuer.stop()


def ask(tokens: OidcTokens, *each: str) -> list[str]:
    """Role and key of each, or how it was refused; one loop, as in a worker."""

    async def all_of_them() -> list[str]:
        told = []
        for token in each:
            try:
                account = await tokens.account(token)
                told.append(f"{account.role} {account.key}")
            except TokenRefused as error:
                told.append("over" if error.is_over else "refused")
        return told

    return asyncio.run(all_of_them())


def test_a_good_token_tells_who_it_is(an_issuer: LocalIssuer) -> None:
    issuer = Issuer(an_issuer.url, AUDIENCE, administrators="groups=chiefs")
    issuer.check()
    tokens = [
        an_issuer.token(),
        an_issuer.token(aud=["other", AUDIENCE]),
        an_issuer.token(groups=["staff", "chiefs"]),
        an_issuer.token(exp=time.time() - 5),  # clocks differ
    ]
    assert ask(OidcTokens(issuer), *tokens) == [
        "user oidc:alice",
        "user oidc:alice",
        "administrator oidc:alice",
        "user oidc:alice",
    ]
    assert an_issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    named = Issuer(an_issuer.url, AUDIENCE, f"{an_issuer.url}/keys", name_claim="email")
    assert ask(OidcTokens(named), an_issuer.token(email="a@b"), an_issuer.token()) == ["user oidc:a@b", "refused"]


def unsigned(issuer: LocalIssuer) -> str:
    parts = [{"alg": "none", "kid": "first"}, {"iss": issuer.url, "aud": AUDIENCE, "sub": "alice", "exp": 1e11}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def by_secret(issuer: LocalIssuer) -> str:
    """Signed with the public key as if it were a secret, which anybody could; by hand, for PyJWT refuses to."""
    secret = json.dumps(issuer.keys[0]).encode()
    parts = [{"alg": "HS256", "kid": "first"}, {"iss": issuer.url, "aud": AUDIENCE, "sub": "alice", "exp": 1e11}]
    said = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    seal = hmac.digest(secret, said.encode(), "sha256")
    return f"{said}.{base64.urlsafe_b64encode(seal).decode().rstrip('=')}"


BAD: dict[str, tuple[str, Callable[[LocalIssuer], str]]] = {
    "wrong audience": ("refused", lambda issuer: issuer.token(aud="another-program")),
    "no audience": ("refused", lambda issuer: issuer.token(aud=None)),
    "wrong issuer": ("refused", lambda issuer: issuer.token(iss="https://evil.example")),
    "no issuer": ("refused", lambda issuer: issuer.token(iss=None)),
    "expired": ("over", lambda issuer: issuer.token(exp=time.time() - 60)),
    "no end": ("refused", lambda issuer: issuer.token(exp=None)),
    "not yet": ("refused", lambda issuer: issuer.token(nbf=time.time() + 300)),
    "no name": ("refused", lambda issuer: issuer.token(sub=None)),
    "empty name": ("refused", lambda issuer: issuer.token(sub="")),
    "alg none": ("refused", unsigned),
    "a public key as secret": ("refused", by_secret),
    "another's key under a known name": ("refused", lambda issuer: issuer.token(STRANGERS)),
    "a key of no name": ("refused", lambda issuer: issuer.token(STRANGERS, "nobody")),
    "another algorithm": ("refused", lambda issuer: issuer.token(algorithm="PS256")),
    "cut": ("refused", lambda issuer: issuer.token()[:-6]),
    "changed": ("refused", lambda issuer: issuer.token().replace(".", ".e30", 1)),
    "nonsense": ("refused", lambda _: "a.b.c"),
}


def test_whatever_is_wrong_is_refused(an_issuer: LocalIssuer) -> None:
    tokens = OidcTokens(Issuer(an_issuer.url, AUDIENCE))
    told = ask(tokens, *(make(an_issuer) for _, make in BAD.values()))
    assert dict(zip(BAD, told, strict=True)) == {name: expected for name, (expected, _) in BAD.items()}


def test_a_rotated_key_is_found_and_unknown_names_do_not_flood_the_issuer(an_issuer: LocalIssuer) -> None:
    tokens = OidcTokens(Issuer(an_issuer.url, AUDIENCE, f"{an_issuer.url}/keys"))
    assert ask(tokens, an_issuer.token()) == ["user oidc:alice"]
    an_issuer.keys = [published(NEXT, "second", "ES256")]
    new = an_issuer.token(NEXT, "second", "ES256")
    assert ask(tokens, *[new] * 20) == ["refused"] * 20
    assert len(an_issuer.asked) == 1
    tokens.pause = 0.0
    assert ask(tokens, new, an_issuer.token()) == ["user oidc:alice", "refused"]


def test_keys_that_cannot_be_had_keep_those_that_are_known(an_issuer: LocalIssuer) -> None:
    tokens = OidcTokens(Issuer(an_issuer.url, AUDIENCE))
    token = an_issuer.token()
    assert ask(tokens, token) == ["user oidc:alice"]
    an_issuer.stop()
    tokens.pause = 0.0
    assert ask(tokens, token, an_issuer.token(NEXT, "second", "ES256")) == ["user oidc:alice", "refused"]
    with pytest.raises(KeysUnreachable):
        ask(OidcTokens(Issuer(an_issuer.url, AUDIENCE)), token)


@pytest.mark.parametrize(
    ("issuer", "sentence"),
    [
        (Issuer("http://sign-in.hospital.example", AUDIENCE), "no https address"),
        (Issuer("https://sign-in.hospital.example", AUDIENCE, "http://a.example/keys"), "oidc_keys_url"),
        (Issuer("https://sign-in.hospital.example", ""), "oidc_audience"),
        (Issuer("https://sign-in.hospital.example", AUDIENCE, administrators="chiefs"), "claim=value"),
    ],
    ids=["plain http", "plain keys", "no audience", "no claim"],
)
def test_settings_that_would_let_anybody_in_are_refused(issuer: Issuer, sentence: str) -> None:
    with pytest.raises(OidcError, match=sentence):
        issuer.check()


def test_a_worker_lets_in_who_has_signed_in(serve_here: Callable[..., WorkerHere], an_issuer: LocalIssuer) -> None:
    here = serve_here(issuer=Issuer(an_issuer.url, AUDIENCE))
    alice, bob = Caller(here.url, an_issuer.token()), Caller(here.url, an_issuer.token(sub="bob"))
    theirs = work(alice, 1)
    again = Caller(here.url, an_issuer.token(exp=time.time() + 1200))
    assert again.call("GET", f"/sessions/{theirs.session}").json()["applied"] == 1
    assert bob.call("GET", f"/sessions/{theirs.session}").status_code == 404
    over = Caller(here.url, an_issuer.token(exp=time.time() - 60)).call("GET", "/info")
    assert (over.status_code, over.json()["error"]["code"]) == (401, "token_ended")
    assert "sign in again" in over.json()["error"]["message"]
    an_issuer.stop()
    assert Caller(here.url, an_issuer.token()).call("GET", "/info").status_code == 200
