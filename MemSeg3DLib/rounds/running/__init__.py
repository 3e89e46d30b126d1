"""One round while it runs: what is asked for, what is written into the scene, what ends it."""
