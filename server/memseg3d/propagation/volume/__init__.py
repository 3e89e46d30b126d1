"""The volume that is segmented: its slices, grey-value windows, and arrays larger than the memory."""
