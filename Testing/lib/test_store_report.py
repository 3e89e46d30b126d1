"""Answers of a PACS that are odd, hostile or in XML are read for what they say, and none is an error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from MemSeg3DLib.export.dicom.dicomweb import _failures, _warnings
from MemSeg3DLib.export.dicom.store_report import code_of, report_of

XML = b"""<?xml version="1.0"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081198" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI">
<Value number="1">1.2.3</Value></DicomAttribute>
<DicomAttribute tag="00081197" vr="US"><Value number="1">290</Value></DicomAttribute>
</Item></DicomAttribute>
</NativeDicomModel>"""
ODD: list[Any] = [
    None,
    1,
    "text",
    [1],
    {},
    {"Value": None},
    {"Value": 3},
    {"Value": [None]},
    {"Value": [[]]},
    {"Value": [1]},
]


def test_failures_in_xml_are_told() -> None:
    assert _failures(report_of(XML) or {}) == [("1.2.3", 0x0122)]


@pytest.mark.parametrize("tag", ["00081198", "00081199", "0008119A"])
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_odd_values_are_no_error(tag: str, odd: Any) -> None:
    for content in ({tag: odd}, {tag: {"Value": [{"00081155": odd, "00081197": odd, "00081196": odd}]}}):
        report = report_of(json.dumps(content).encode()) or {}
        assert isinstance(_failures(report), list)
        assert isinstance(_warnings(report), list)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no report",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[1]",
        b"<NativeDicomModel><a></NativeDicomModel>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
        bytes(1 << 25),
    ],
    ids=["empty", "words", "deep list", "deep object", "a number", "broken XML", "a document type", "too large"],
)
def test_what_is_no_report_is_none(content: bytes) -> None:
    assert report_of(content) is None


@pytest.mark.parametrize(
    ("value", "code"),
    [("A700", 0xA700), ("0xA700", 0xA700), ("42752", 0xA700), (272, 0x0110), ("x", 0), (None, 0), (-1, 0)],
)
def test_reasons_may_be_written_as_text(value: object, code: int) -> None:
    assert code_of(value) == code
