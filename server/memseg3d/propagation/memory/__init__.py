"""What is remembered of finished slices, which of it a slice reads, and the trackers that read it."""
