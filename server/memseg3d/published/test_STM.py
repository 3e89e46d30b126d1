"""`python -m memseg3d.published.test_STM`: judge Mem3D's memory network and save its slices (`test_STM.py`)."""

from memseg3d.published.mem3d import test_memory

if __name__ == "__main__":
    test_memory("test_STM", "truth", "mask")
