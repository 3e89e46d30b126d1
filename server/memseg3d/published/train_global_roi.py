"""`python -m memseg3d.published.train_global_roi`: train DualClickMed's global expert."""

from memseg3d.published.dcm import train_global

if __name__ == "__main__":
    train_global()
