"""`python -m memseg3d.published.train_inter`: train Mem3D's interaction network inter."""

from memseg3d.published.mem3d import train_interaction

if __name__ == "__main__":
    train_interaction("train_inter", "inter")
