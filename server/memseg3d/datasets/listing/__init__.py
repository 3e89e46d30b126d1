"""What the layouts share: recognising and reading as a contract, pairs of folders, folders of slices."""
