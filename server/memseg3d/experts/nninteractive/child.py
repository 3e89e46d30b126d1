"""The child process: nnInteractive's session, driven by messages on stdin, answering on stdout. Nothing of ours here.

A message is a line of JSON with `bytes`, and so many bytes behind it. Whatever the package prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    held = Held()
    while line := requests.readline():
        words = json.loads(line)
        content = requests.read(words["bytes"])
        try:
            mask = held.do(words, content)
        except Exception as error:
            _tell(answers, {"error": f"{type(error).__name__}: {error}"[:500]})
        else:
            _tell(answers, {}, b"" if mask is None else np.packbits(mask > 0).tobytes())


class Held:
    """One session with one image."""

    def __init__(self) -> None:
        self._session: Any = None
        self._target: np.ndarray | None = None

    def do(self, words: dict[str, Any], content: bytes) -> np.ndarray | None:
        """What a message asks for; the mask where it asks for one."""
        kind = words["do"]
        if kind == "open":
            self._open(words)
        elif kind == "image":
            image = np.frombuffer(content, np.float32).reshape(words["shape"])
            self._session.reset_interactions()
            self._session.set_image(image[None].copy())
            self._target = np.zeros(words["shape"], np.uint8)
            self._session.set_target_buffer(self._target)
        elif kind == "reset":
            self._session.reset_interactions()
            assert self._target is not None
            self._target[:] = 0
        elif kind == "initial":
            self._session.add_initial_seg_interaction(self._mask(content))
        else:
            self._prompt(words, content)
            return self._target if words["predicts"] else None
        return None

    def _open(self, words: dict[str, Any]) -> None:
        import torch
        from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

        self._session = nnInteractiveInferenceSession(
            device=torch.device(words["device"]),
            use_torch_compile=False,
            verbose=False,
            torch_n_threads=words["threads"],
            do_autozoom=words["zooms"],
            # rounds are taken back here; its own way copies all maps of prompts with each prompt
            enable_undo=False,
        )
        self._session.initialize_from_trained_model_folder(words["folder"])

    def _prompt(self, words: dict[str, Any], content: bytes) -> None:
        session, more = self._session, {"run_prediction": words["predicts"]}
        if words["do"] == "point":
            session.add_point_interaction(tuple(words["at"]), include_interaction=words["positive"], **more)
        elif words["do"] == "box":
            session.add_bbox_interaction(words["box"], include_interaction=True, **more)
        elif words["do"] == "scribble":
            session.add_scribble_interaction(self._mask(content), include_interaction=words["positive"], **more)
        else:
            session.add_lasso_interaction(self._mask(content), include_interaction=words["positive"], **more)

    def _mask(self, content: bytes) -> np.ndarray:
        assert self._target is not None
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=self._target.size)
        return bits.reshape(self._target.shape)


def _tell(stream: BinaryIO, words: dict[str, Any], content: bytes = b"") -> None:
    stream.write(json.dumps({**words, "bytes": len(content)}).encode() + b"\n" + content)
    stream.flush()


if __name__ == "__main__":
    main()
