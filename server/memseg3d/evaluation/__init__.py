"""Metrics, the robot user and the published protocols."""
