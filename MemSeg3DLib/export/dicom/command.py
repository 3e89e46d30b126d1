"""The command `python -m MemSeg3DLib.export.dicom.command`: a DICOM folder and a labelmap in, a DICOM-SEG out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from MemSeg3DLib.base.errors import MemSeg3DError
from MemSeg3DLib.export.dicom.segmentation import masks_of_labelmap, write_dicom_seg
from MemSeg3DLib.export.dicom.series import PatientGrid, read_series
from MemSeg3DLib.export.dicom.settings import ExportSettings
from MemSeg3DLib.export.dicom.terminology import SegmentDescription, describe, read_labels
from MemSeg3DLib.export.labelmaps.reading import read_labelmap


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where the file was written, 1 with a sentence on stderr where it was not."""
    options = _parser().parse_args(arguments)
    try:
        labelmap, affine = read_labelmap(options.labelmap)
        k, j, i = labelmap.shape
        grid = PatientGrid((k, j, i), affine)
        segments = read_labels(options.labels) if options.labels else _numbered(labelmap)
        series = read_series(options.dicom, options.series, grid)
        settings = ExportSettings(
            series_description=options.description, creator=options.creator, overwrite=options.overwrite
        )
        masks = masks_of_labelmap(labelmap, segments)
        report = write_dicom_seg(series, segments, masks, options.out, grid, settings)
    except MemSeg3DError as error:
        print(error, file=sys.stderr)
        return 1
    for sentence in (*series.notes, *report.left_out, *report.remarks):
        print(sentence, file=sys.stderr)
    print(f"{report.path}: {', '.join(report.segments)} as series {report.series_uid}")
    return 0


def _numbered(labelmap: NDArray[np.integer]) -> list[SegmentDescription]:
    return [describe(int(value), f"Segment {value}") for value in np.unique(labelmap) if value != 0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m MemSeg3DLib.export.dicom.command",
        description="Write a labelmap as a DICOM-SEG of the series it was made on.",
    )
    parser.add_argument("--dicom", type=Path, required=True, metavar="FOLDER", help="folder of the source series")
    parser.add_argument(
        "--series",
        metavar="NAME",
        help="which series, where the labelmap may belong to several: its UID, number, description, or the words by "
        "which messages name a part of it",
    )
    parser.add_argument(
        "--labelmap", type=Path, required=True, metavar="FILE", help="NIfTI or NRRD on the series' grid"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help='JSON such as {"1": "liver"}; with codes if wanted')
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the DICOM-SEG to write")
    parser.add_argument(
        "--description", default=ExportSettings.series_description, help="description of the new series"
    )
    parser.add_argument("--creator", metavar="NAME", help="who made the segmentation (Family^Given)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
