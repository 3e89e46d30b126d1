"""Closed rounds as records, and what a session knows of its objects from them."""
