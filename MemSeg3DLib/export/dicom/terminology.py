"""What a segment is called: codes, segment descriptions, the labels file, and presets for common organs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from MemSeg3DLib.base.errors import MemSeg3DError


class LabelsError(MemSeg3DError):
    """The description of the segments cannot be used; the message says what to change."""


LARGEST_LABEL = (1 << 31) - 1
_UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+", re.ASCII)


@dataclass(frozen=True)
class Code:
    """A coded concept: value, coding scheme (SCT for SNOMED CT) and meaning, as DICOM writes it."""

    value: str
    scheme: str
    meaning: str


ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
TISSUE = Code("85756007", "SCT", "Tissue")
RIGHT, LEFT = Code("24028007", "SCT", "Right"), Code("7771000", "SCT", "Left")
LIVER = Code("10200004", "SCT", "Liver")
LESION = Code("52988006", "SCT", "Lesion")


@dataclass(frozen=True)
class SegmentDescription:
    """One segment in words and codes (DICOM PS3.3 C.8.20.4).

    label: value in the labelmap. category: CID 7150. type: what it is; modifier: its side; region: where it lies, for
    what is no organ itself, with region_modifier its side. colour: RGB 0-255. includes: labels that lie inside this
    segment, which then overlap it. tracking_id and tracking_uid name the same finding in several exports; both are made
    up at export where absent.
    """

    label: int
    name: str
    category: Code = TISSUE
    type: Code = TISSUE
    modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None
    colour: tuple[int, int, int] | None = None
    includes: tuple[int, ...] = ()
    tracking_id: str | None = None
    tracking_uid: str | None = None


def _organ(value: str, meaning: str, colour: tuple[int, int, int], side: Code | None = None) -> SegmentDescription:
    code = Code(value, "SCT", meaning)
    return SegmentDescription(0, "", ANATOMICAL_STRUCTURE, code, modifier=side, colour=colour)


PRESETS: dict[str, SegmentDescription] = {
    "liver": _organ(LIVER.value, LIVER.meaning, (221, 130, 101)),
    "right kidney": _organ("64033007", "Kidney", (185, 102, 83), RIGHT),
    "left kidney": _organ("64033007", "Kidney", (185, 102, 83), LEFT),
    "kidney": _organ("64033007", "Kidney", (185, 102, 83)),
    "spleen": _organ("78961009", "Spleen", (157, 108, 162)),
    "aorta": _organ("15825003", "Aorta", (224, 97, 76)),
    "vertebrae": _organ("51282000", "Vertebra", (241, 214, 145)),
    "right lung": _organ("39607008", "Lung", (197, 165, 145), RIGHT),
    "left lung": _organ("39607008", "Lung", (197, 165, 145), LEFT),
    "stomach": _organ("69695003", "Stomach", (216, 132, 105)),
    "gallbladder": _organ("28231008", "Gallbladder", (139, 150, 98)),
    "liver lesion": SegmentDescription(0, "", ABNORMAL_STRUCTURE, LESION, region=LIVER, colour=(144, 238, 144)),
    "lesion": SegmentDescription(0, "", ABNORMAL_STRUCTURE, LESION, colour=(144, 238, 144)),
    "tumour": SegmentDescription(
        0, "", ABNORMAL_STRUCTURE, Code("108369006", "SCT", "Neoplasm"), colour=(144, 238, 144)
    ),
}


def describe(label: int, name: str, includes: tuple[int, ...] = ()) -> SegmentDescription:
    """The segment of a label; its codes come from `PRESETS` where the name is known there, else it is plain tissue."""
    known = PRESETS.get(name.strip().lower().replace("_", " "), SegmentDescription(0, ""))
    return replace(known, label=label, name=name, includes=includes)


def read_labels(path: Path) -> list[SegmentDescription]:
    """Segments of a labels file: JSON from label to a name, or to an object with fields of `SegmentDescription`.

    Codes are lists of value, scheme and meaning. The side-cars that `write_nifti` and `memseg3d segment` leave beside a
    labelmap are read, too. Raises `LabelsError` where the file is not that.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=lambda pairs: _told_once(pairs, path))
        # Halves of letters, which JSON can tell and no file can hold.
        json.dumps(content, ensure_ascii=False).encode()
    except OSError as error:
        raise LabelsError(f"The labels file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"The labels file {path} is no valid JSON: {error}.") from error
    if isinstance(content, dict) and isinstance(content.get("segments"), list):
        content = _of_side_car(content["segments"], path)
    if not isinstance(content, dict) or not content:
        raise LabelsError(f'The labels file {path} must map label values to names, such as {{"1": "liver"}}.')
    segments = [_read_label(key, value, path) for key, value in content.items()]
    _told_once([(str(segment.label), segment) for segment in segments], path)
    return segments


def write_labels(segments: list[SegmentDescription], path: Path) -> None:
    """Write segments as a labels file that `read_labels` reads."""
    content = {str(segment.label): segment_as_json(segment) for segment in segments}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def segment_as_json(segment: SegmentDescription) -> dict[str, Any]:
    """Everything known of a segment except its label, as JSON values that `read_labels` takes."""
    fields = {key: value for key, value in vars(segment).items() if key != "label" and value not in (None, ())}
    return {
        key: [value.value, value.scheme, value.meaning] if isinstance(value, Code) else value
        for key, value in fields.items()
    }


def _of_side_car(segments: list[Any], path: Path) -> dict[str, Any]:
    """Label to description, from a side-car; what it says besides (files, voxels, qualities) is passed over."""
    if not all(isinstance(one, dict) and "label" in one and "name" in one for one in segments):
        raise LabelsError(f"In {path} every entry of 'segments' must have a label and a name.")
    known = SegmentDescription.__dataclass_fields__.keys() - {"label"}
    return _told_once([(str(one["label"]), {name: one[name] for name in known & one.keys()}) for one in segments], path)


def _told_once(pairs: Sequence[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Pairs as a dictionary. JSON keeps the last of two silently, and with it a name that the user did not mean."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise LabelsError(f"In {path} {key[:40]!r} is told twice: leave one of the two.")
        found[key] = value
    return found


def _read_label(key: str, value: object, path: Path) -> SegmentDescription:
    if not key.isdecimal() or len(key) > len(str(LARGEST_LABEL)) or not 0 < int(key) <= LARGEST_LABEL:
        raise LabelsError(f"In {path} the label {key[:40]!r} is no positive whole number up to {LARGEST_LABEL}.")
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"].strip():
        raise LabelsError(f"In {path} label {key} has no name.")
    segment = describe(int(key), value["name"])
    if "color" in value:
        value = {**value, "colour": _of_slicer(value["color"])}
        del value["color"]
    unknown = set(value) - set(vars(segment))
    if unknown:
        raise LabelsError(f"In {path} label {key} has unknown fields: {', '.join(sorted(unknown))}.")
    return replace(
        segment, **{field: _read_field(field, content, key, path) for field, content in _given(value).items()}
    )


def _of_slicer(colour: Any) -> Any:
    """Slicer's colours, which run from 0 to 1, as 0 to 255; what is no colour goes through as it is."""
    if not isinstance(colour, list):
        return colour
    is_number = all(isinstance(part, int | float) and not isinstance(part, bool) for part in colour)
    return [round(255 * part) for part in colour] if is_number and all(abs(part) < 1e6 for part in colour) else colour


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        field: content for field, content in value.items() if field not in ("name", "label") and content is not None
    }


def _read_field(field: str, content: Any, key: str, path: Path) -> Any:
    if field == "tracking_id" and isinstance(content, str):
        return content
    if field == "tracking_uid" and isinstance(content, str) and _UID.fullmatch(content):
        return content
    if not isinstance(content, list):
        raise LabelsError(f"In {path} the field {field!r} of label {key} must be {_WANTED.get(field, 'text')}.")
    if field in ("colour", "includes"):
        numbers = all(isinstance(n, int) and not isinstance(n, bool) for n in content)
        in_range = field == "includes" or (len(content) == 3 and all(0 <= n <= 255 for n in content if numbers))
        if not (numbers and in_range):
            raise LabelsError(f"In {path} the field {field!r} of label {key} must be {_WANTED[field]}.")
        return tuple(content)
    if field in _WANTED and len(content) == 3 and all(isinstance(part, str) and part for part in content):
        return Code(*content)
    raise LabelsError(f"In {path} the field {field!r} of label {key} must be {_WANTED.get(field, 'text')}.")


_CODE_WORDS = "a code: a list of value, coding scheme and meaning"
_WANTED = {
    "category": _CODE_WORDS,
    "type": _CODE_WORDS,
    "modifier": _CODE_WORDS,
    "region": _CODE_WORDS,
    "region_modifier": _CODE_WORDS,
    "colour": "three whole numbers from 0 to 255",
    "includes": "a list of label values",
    "tracking_uid": "a DICOM UID: numbers with dots between them, at most 64 characters",
}
