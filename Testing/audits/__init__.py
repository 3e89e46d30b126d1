"""Fuzzing in numbers that no test run has time for: `make audit-fuzz`. A small sample of each runs with the tests."""
