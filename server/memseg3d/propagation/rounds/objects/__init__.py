"""One object's part of a round, told as a story: decode what was prompted, walk, keep what changes aside until the end."""
