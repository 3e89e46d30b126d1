"""SAM 2 and 2.1, written for volumes: one stage a file, the official names inside the state dict."""

from .config import Sam2Config, TrunkConfig
from .network import Sam2Network

__all__ = ["Sam2Config", "Sam2Network", "TrunkConfig"]
