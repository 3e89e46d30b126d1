"""The addresses of the wire protocol, one file a resource."""
