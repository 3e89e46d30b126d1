"""HTTP: protocol, storage and journal, authentication, limits."""
