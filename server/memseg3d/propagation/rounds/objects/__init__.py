"""One object's part of a round: decode what was prompted, walk, keep what changes aside until the end."""
