"""`python -m memseg3d.published.test_scribble`: judge Mem3D's interaction network scribble."""

from memseg3d.published.mem3d import test_interaction

if __name__ == "__main__":
    test_interaction("test_scribble", "scribble")
