"""`python -m memseg3d.published.train_dextr`: train Mem3D's interaction network dextr."""

from memseg3d.published.mem3d import train_interaction

if __name__ == "__main__":
    train_interaction("train_dextr", "dextr")
