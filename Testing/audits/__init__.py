"""Audits: what the product's files are to other programs. Longer than tests, with requirements of their own."""
