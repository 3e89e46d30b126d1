"""`python -m memseg3d.published.train_STM`: train Mem3D's memory network (`train_STM.py`)."""

from memseg3d.published.mem3d import train_memory

if __name__ == "__main__":
    train_memory("train_STM", "memory")
