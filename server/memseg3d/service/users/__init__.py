"""Who uses the worker: accounts, their tokens, an issuer's tokens, the audit log. Knows nothing of the rest."""
