#!/bin/sh
# Answers every case of /workspace/inputs; the challenge runs it once a round. Nothing is fetched.
exec python -m memseg3d.evaluation.cvpr25.predict \
  --inputs /workspace/inputs --outputs /workspace/outputs --model "${MEMSEG3D_MODEL:-memseg3d-nano}"
