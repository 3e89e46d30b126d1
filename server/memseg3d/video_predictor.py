"""Drop-in for SAM 2's scripts: `from memseg3d.video_predictor import build_sam2_video_predictor`."""

from memseg3d.video.building import build_sam2_video_predictor
from memseg3d.video.predictor import VideoPredictor
from memseg3d.video.predictor import VideoPredictor as SAM2VideoPredictor

__all__ = ["SAM2VideoPredictor", "VideoPredictor", "build_sam2_video_predictor"]
