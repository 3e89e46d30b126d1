"""Rounds as a user works with them: prompts wait, a round runs, is undone, approved or recovered."""
