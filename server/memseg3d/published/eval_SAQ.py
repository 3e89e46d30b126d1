"""`python -m memseg3d.published.eval_SAQ`: Mem3D's rounds with the quality head's advice (`eval_SAQ.py`)."""

from memseg3d.published.mem3d import test_memory

if __name__ == "__main__":
    test_memory("eval_SAQ", "quality", "dextr")
