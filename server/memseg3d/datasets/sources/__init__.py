"""Volumes on disk that are described at once and decoded when they are asked for: files, channels, slices, npz."""
