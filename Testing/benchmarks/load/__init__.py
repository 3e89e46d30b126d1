"""Many clinicians on one worker: failed requests, first masks by user, fairness, memory and descriptors over time."""
