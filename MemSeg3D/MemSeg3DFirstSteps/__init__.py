"""For the first steps inside a real Slicer: a sample volume, and a self-test that anyone can run."""
