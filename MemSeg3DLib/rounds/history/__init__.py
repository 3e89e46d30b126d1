"""Closed rounds: kept in the scene and in a recovery journal, undone and redone, brought back after a crash."""
