"""One object's part of a round: planned, decoded, propagated, staged."""
