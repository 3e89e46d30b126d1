"""`python -m memseg3d.published.test_inter`: judge Mem3D's interaction network inter."""

from memseg3d.published.mem3d import test_interaction

if __name__ == "__main__":
    test_interaction("test_inter", "inter")
