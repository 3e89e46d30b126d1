"""`python -m memseg3d.published.train_cvpr_ddp_interactive`: train DualClickMed's local expert."""

from memseg3d.published.dcm import train_local

if __name__ == "__main__":
    train_local()
