"""What a user draws on a segment: from the mouse to typed prompts, kept in the scene, sent in (k, j, i)."""
