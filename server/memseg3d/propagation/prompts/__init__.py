"""What is asked of a session: prompts, limits, options; and the events that answer."""
