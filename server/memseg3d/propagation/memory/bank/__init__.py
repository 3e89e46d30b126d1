"""The memory of one object, and the seam of the policies that decide about it."""
