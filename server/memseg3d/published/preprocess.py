"""`python -m memseg3d.published.preprocess`: cubes for DualClickMed's global expert."""

from memseg3d.published.dcm import preprocess

if __name__ == "__main__":
    preprocess()
