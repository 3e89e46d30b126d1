#!/usr/bin/env bash
# SetNumberOfThreads(1) on a SimpleITK filter does not keep it on the calling thread; SetNumberOfWorkUnits(1) does.
#
# A tool that segments while somebody waits filters small images: a slice's distance map takes less than a millisecond.
# ITK divides it among threads that it starts for this one call (by its platform threader, which is what SimpleITK's
# wheels take) and waits for all of them, so on a computer whose cores are busy the call takes a time slice of the
# scheduler, ten to twenty times as long. Who tells the filter to take one thread by the setting of that name sees 1 when
# he asks for it, and the filter goes on starting as many as before: the number of work units is another setting, which
# is 0 ("as many as the global default"), and that one counts. With it, or with the global default at 1, nothing waits.
# SmoothingRecursiveGaussian, GradientMagnitude, Median and ConnectedComponent are alike. Counted as the voluntary
# context switches of the process, which a call that stays on its thread does not make. Linux.
#
# Seen with SimpleITK 2.5.7, a mask of 80 x 80, a global default of 4 threads, context switches in 100 calls:
#   SignedMaurerDistanceMap: as it is 100 or more; SetNumberOfThreads(1) 100 or more; SetNumberOfWorkUnits(1) below 20
#   ConnectedComponent: as it is 100 or more; SetNumberOfThreads(1) 100 or more; SetNumberOfWorkUnits(1) below 20
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet SimpleITK==2.5.7 numpy==2.4.6
venv/bin/python - <<'PY'
import resource
import sys

import numpy as np
import SimpleITK as sitk

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
mask = np.zeros((80, 80), np.uint8)
mask[20:50, 20:50] = 1
image = sitk.GetImageFromArray(mask)


def waits(name, setting):
    tool = getattr(sitk, f"{name}ImageFilter")()
    if setting:
        getattr(tool, setting)(1)
    if setting == "SetNumberOfThreads" and tool.GetNumberOfThreads() != 1:
        sys.exit("The setting was not taken.")
    tool.Execute(image)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(100):
        tool.Execute(image)
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before


holds = True
for name in ("SignedMaurerDistanceMap", "ConnectedComponent"):
    found = [waits(name, setting) for setting in ("", "SetNumberOfThreads", "SetNumberOfWorkUnits")]
    words = ["100 or more" if each >= 100 else "below 20" if each < 20 else str(each) for each in found]
    print(f"{name}: as it is {words[0]}; SetNumberOfThreads(1) {words[1]}; SetNumberOfWorkUnits(1) {words[2]}")
    holds &= found[0] >= 100 and found[1] >= 100 and found[2] < 20
if not holds:
    sys.exit("The settings no longer do what is stated above.")
PY
