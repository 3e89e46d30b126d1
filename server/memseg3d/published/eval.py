"""`python -m memseg3d.published.eval`: IoU and Dice of saved slices over thresholds (Mem3D's `eval.py`)."""

from memseg3d.published.mem3d import test_thresholds

if __name__ == "__main__":
    test_thresholds("eval")
