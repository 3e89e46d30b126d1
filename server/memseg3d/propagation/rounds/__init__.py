"""Sessions and their rounds: what a round computes, step by step, and what it leaves."""
