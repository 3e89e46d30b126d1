"""The story of `make demo`: a phantom or a volume of one's own, two organs, one correction, files and a picture."""
