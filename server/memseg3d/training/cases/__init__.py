"""People's own data sets as training material: which cases may be learnt from, and clips of consecutive slices."""
