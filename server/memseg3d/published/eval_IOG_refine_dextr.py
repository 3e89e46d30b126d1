"""`python -m memseg3d.published.eval_IOG_refine_dextr`: Mem3D's rounds without quality head."""

from memseg3d.published.mem3d import test_memory

if __name__ == "__main__":
    test_memory("eval_IOG_refine_dextr", "truth", "dextr")
