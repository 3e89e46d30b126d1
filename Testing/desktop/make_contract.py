"""Makes contract.json: what Python can reach in those classes of Slicer and CTK that the desktop tests stand in for.

python Testing/desktop/make_contract.py PATH/TO/slicer_api.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).with_name("contract.json")

CLASSES = [
    "ctkCheckBox",
    "ctkCheckableComboBox",
    "ctkCollapsibleButton",
    "ctkCollapsibleGroupBox",
    "ctkColorPickerButton",
    "ctkComboBox",
    "ctkDirectoryButton",
    "ctkDoubleSpinBox",
    "ctkExpandableWidget",
    "ctkFittedTextBrowser",
    "ctkMenuButton",
    "ctkMessageBox",
    "ctkPathLineEdit",
    "ctkPushButton",
    "ctkRangeWidget",
    "ctkSearchBox",
    "ctkSliderWidget",
    "qMRMLCheckableNodeComboBox",
    "qMRMLCollapsibleButton",
    "qMRMLLayoutManager",
    "qMRMLNodeComboBox",
    "qMRMLSegmentEditorWidget",
    "qMRMLSegmentSelectorWidget",
    "qMRMLSegmentationShow3DButton",
    "qMRMLSegmentsTableView",
    "qMRMLSliceControllerWidget",
    "qMRMLSliceView",
    "qMRMLSliceWidget",
    "qMRMLSliderWidget",
    "qMRMLSpinBox",
    "qMRMLSubjectHierarchyComboBox",
    "qMRMLThreeDView",
    "qMRMLThreeDWidget",
    "qMRMLVolumeThresholdWidget",
    "qMRMLWidget",
    "qMRMLWindowLevelWidget",
    "qSlicerApplication",
    "qSlicerIOManager",
    "qSlicerLayoutManager",
    "qSlicerModuleManager",
    "qSlicerScriptedLoadableModule",
    "qSlicerScriptedLoadableModuleWidget",
    "qSlicerSegmentEditorEffectFactory",
    "qSlicerSegmentEditorScriptedEffect",
    "qSlicerSimpleMarkupsWidget",
    "qSlicerWidget",
]

_NAME = re.compile(r"^(.*[\s*&])\w+(\[\d*\])?$")


def types_of(arguments: str) -> str:
    """`const QString& id, int index = 0` as `QString,int`: types alone, as Qt normalises a signature."""
    found = []
    for one in re.split(r",(?![^<]*>)", arguments):
        text = one.split("=")[0].strip()
        if not text:
            continue
        match = _NAME.match(text)
        # A type of several words (`unsigned int`) has no name behind it.
        if match and not re.fullmatch(r"(unsigned|long|signed)\s+", match.group(1)):
            text = match.group(1) + (match.group(2) or "")
        text = re.sub(r"^const\s+(.*?)\s*&$", r"\1", text.strip())
        found.append(re.sub(r"\s+", " ", text).replace(" *", "*").replace(" &", "&").strip())
    return ",".join(found)


def least_arguments(arguments: str) -> int:
    """How many arguments have no default."""
    return sum(1 for one in re.split(r",(?![^<]*>)", arguments) if one.strip() and "=" not in one)


def described(name: str, facts: dict[str, Any], every: dict[str, Any]) -> dict[str, Any]:
    """One class in the contract's words; what a second base offers is added to it."""
    base, *others = facts["bases"] or ["QObject"]
    methods: dict[str, list[list[Any]]] = {}
    static: list[str] = []
    properties: dict[str, list[Any]] = {}
    signals: list[str] = []
    enums: dict[str, list[str]] = {}
    for part in [facts, *(every[one] for one in others if one in every)]:
        for kind in ("slots", "invokables", "decorated"):
            for method in part.get(kind) or []:
                words = [types_of(method["args"]), least_arguments(method["args"])]
                if words not in methods.setdefault(method["name"], []):
                    methods[method["name"]].append(words)
                if method.get("static"):
                    static.append(method["name"])
        for key, value in part["properties"].items():
            properties[key] = [value["type"], bool(value.get("write")), value.get("notify")]
        signals += [f"{one['name']}({types_of(one['args'])})" for one in part["signals"]]
        enums.update({key: list(values) for key, values in (part.get("enums") or {}).items()})
    return {
        "base": base,
        "methods": methods,
        "static": sorted(set(static)),
        "properties": properties,
        "signals": sorted(set(signals)),
        "enums": enums,
        "hidden": sorted({one["name"] for one in facts["methods_not_exposed"]} - set(methods)),
        "is_abstract": not facts["ctors"],
    }


def make(source: Path) -> dict[str, Any]:
    """The contract: the classes in use and their bases."""
    every = json.loads(source.read_text(encoding="utf-8"))
    classes, wanted, found = every["classes"], list(CLASSES), {}
    while wanted:
        name = wanted.pop()
        if name not in found and name in classes:
            found[name] = described(name, classes[name], classes)
            wanted.append(found[name]["base"])
    return {"source": every["_about"]["source"], "classes": dict(sorted(found.items()))}


if __name__ == "__main__":
    contract = make(Path(sys.argv[1]))
    # One class a line, so that a change of one class shows as one.
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(one)}" for name, one in contract["classes"].items())
    CONTRACT.write_text(
        f'{{"source": {json.dumps(contract["source"])},\n"classes": {{\n{lines}\n}}}}\n', encoding="utf-8"
    )
    print(f"{len(contract['classes'])} classes in {CONTRACT.name}")
