"""`python -m memseg3d.published.train_SAQ`: train Mem3D's memory network with its quality head (`train_SAQ.py`)."""

from memseg3d.published.mem3d import train_memory

if __name__ == "__main__":
    train_memory("train_SAQ", "quality")
