"""The worker's certificate: checked before it is used, and taken up anew where its files were renewed."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


class ServeError(Exception):
    """The worker cannot start, with a sentence that says what to do."""


@dataclass(frozen=True)
class Certificate:
    """What TLS needs. file: PEM, the chain after it; key: PEM without a passphrase, None where `file` holds it too."""

    file: Path
    key: Path | None

    def check(self) -> None:
        """Raise ServeError, with the reason, where a server could not use it."""
        for path in (self.file, self.key):
            if path is not None and not path.is_file():
                raise ServeError(f"There is no file {path}: check --tls-cert and --tls-key.")

        def no_passphrase() -> str:
            raise ServeError(f"{self.key or self.file} asks for a passphrase: give the worker a key without one.")

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.file, self.key, no_passphrase)
        except (ssl.SSLError, OSError) as error:
            raise ServeError(
                f"{self.file} and {self.key or self.file} are no certificate and key that belong together "
                f"({error.strerror or error}): give both as PEM."
            ) from error


class Renewal:
    """Looks at a certificate's files; a context that is in use serves what they hold to every new connection."""

    def __init__(self, certificate: Certificate, context: ssl.SSLContext) -> None:
        self._certificate = certificate
        self._context = context
        self._seen = self._signs()

    def look(self) -> bool:
        """Whether the files have changed and fit. Half a renewal (the key is not there yet) is waited for."""
        signs = self._signs()
        if signs == self._seen or not signs:
            return False
        try:
            self._certificate.check()
        except ServeError as error:
            self._refuse(signs, error)
            return False
        return True

    def take_up(self) -> None:
        """Serve what the files hold now. Only where no handshake is made meanwhile: it could meet the new certificate
        with the old key.
        """
        signs = self._signs()
        try:
            self._context.load_cert_chain(self._certificate.file, self._certificate.key)
        except (ssl.SSLError, OSError) as error:
            self._refuse(signs, error)
            return
        self._seen = signs
        log.info("the certificate was renewed")

    def _refuse(self, signs: tuple[tuple[int, int, int], ...], error: Exception) -> None:
        # Told once for each change; the one in use goes on.
        if signs != self._told:
            log.error("the certificate was not renewed, the last one is used on: %s", error)
            self._told = signs

    _told: tuple[tuple[int, int, int], ...] = ()

    def _signs(self) -> tuple[tuple[int, int, int], ...]:
        """What changes with the files; () where one is not there."""
        try:
            status = [path.stat() for path in (self._certificate.file, self._certificate.key) if path is not None]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in status)
