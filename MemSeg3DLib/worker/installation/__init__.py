"""The worker on this computer: its environment made by uv, its models, what is stored, offline bundles."""
