"""The house measured: which file imports which, which room may use which, and the pictures and tables made from it."""
