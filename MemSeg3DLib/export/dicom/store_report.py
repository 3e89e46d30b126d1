"""What a PACS answers to a store (PS3.18 10.5.3): JSON or XML, whole, odd or hostile, as attributes to be asked."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

LARGEST = 1 << 24
"""Bytes of a report that are looked at; one of a thousand files has some hundred kilobytes."""
DEEPEST = 12


def report_of(content: bytes) -> dict[str, Any] | None:
    """The attributes of a report by their tags, as in DICOM JSON; None where the answer holds none."""
    if len(content) > LARGEST:
        return None
    if b"<NativeDicomModel" in content[:2000]:
        return _of_xml(content)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) else None


def items_of(report: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """The items of a sequence; none where it is missing, or no sequence."""
    attribute = report.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def value_of(item: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute, or None."""
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values[0] if isinstance(values, list) and values else None


def code_of(value: Any) -> int:
    """A reason as a number; some write it as text, in hexadecimal. 0 where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        if not isinstance(value, str):
            number = int(value)
        else:
            # 42752 and A700 are the same reason; DICOM's codes have four hexadecimal digits, or five decimal ones.
            text = value.strip().lower().removeprefix("0x")
            number = int(text, 10 if len(text) == 5 or not text else 16)
    except (ValueError, OverflowError):
        return 0
    return number if 0 <= number <= 0xFFFF else 0


def _of_xml(content: bytes) -> dict[str, Any] | None:
    """The Native DICOM Model (PS3.19 A.1); what declares a document type of its own is not read."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        return None
    try:
        return _attributes(ElementTree.fromstring(content), 0)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None


def _attributes(element: ElementTree.Element, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if depth > DEEPEST:
        return found
    for attribute in element:
        if not attribute.tag.endswith("DicomAttribute"):
            continue
        items = [_attributes(one, depth + 1) for one in attribute if one.tag.endswith("Item")]
        values = [_number(one.text or "") for one in attribute if one.tag.endswith("Value")]
        found[attribute.get("tag", "").upper()] = {"Value": items or values}
    return found


def _number(text: str) -> int | str:
    return int(text) if text.strip().isdecimal() and len(text) < 10 else text.strip()
