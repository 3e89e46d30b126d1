"""`python -m memseg3d.published.train_two_point`: train Mem3D's interaction network two_point."""

from memseg3d.published.mem3d import train_interaction

if __name__ == "__main__":
    train_interaction("train_two_point", "two_point")
