"""`python -m memseg3d.published.test_two_point`: judge Mem3D's interaction network two_point."""

from memseg3d.published.mem3d import test_interaction

if __name__ == "__main__":
    test_interaction("test_two_point", "two_point")
