"""Makes PySide6's classes behave as PythonQt shows them: properties are attributes, misspelt names raise.

PythonQt differs from PySide in these ways, and each of them breaks code that only ever ran under PySide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from desktop.standin import errors
from PySide6 import QtCore, QtGui, QtWidgets

MODULES = (QtCore, QtGui, QtWidgets)
_is_reading: set[tuple[int, str]] = set()
_slots: dict[tuple[int, str, Any], tuple[Any, Any]] = {}
_is_strict = [True]


class Lenient:
    """While Qt's own code makes objects (the .ui loader), attributes may be set that Python cannot."""

    def __enter__(self) -> None:
        _is_strict[0] = False

    def __exit__(self, *_: object) -> None:
        _is_strict[0] = True


def qt_classes() -> Iterator[type]:
    """Every QObject class of PySide6, bases before what derives from them."""
    found = {
        value
        for module in MODULES
        # PySide fills its modules when a name is asked for.
        for value in (getattr(module, name) for name in dir(module))
        if isinstance(value, type) and issubclass(value, QtCore.QObject)
    }
    yield from sorted(found, key=lambda one: (len(one.__mro__), one.__name__))


def _property(name: str) -> property:
    def get(self: Any) -> Any:
        # Looking for a Python override of sizeHint() Qt reads the attribute while it is being read.
        key = (id(self), name)
        if key in _is_reading:
            return None
        _is_reading.add(key)
        try:
            return self.property(name)
        finally:
            _is_reading.discard(key)

    def put(self: Any, value: Any) -> None:
        if not self.setProperty(name, value):
            raise ValueError(
                f"Property '{name}' of type '{type(self).__name__}' does not accept a {type(value).__name__}."
            )

    return property(get, put)


def _signals(instance: Any, signal: str) -> Any:
    """The PySide signal of `clicked()` or `clicked(bool)`; raises ValueError as PythonQt does."""
    for owner in type(instance).__mro__:
        own = vars(owner).get("own_signals")
        if own and signal in own:
            return getattr(instance, signal.split("(")[0]).overload(signal)
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signal).data()).decode()
    meta = instance.metaObject()
    if meta.indexOfSignal(normal) < 0:
        raise ValueError(f"{type(instance).__name__} has no signal {signal}")
    name, arguments = normal.rstrip(")").split("(", 1)
    found = _raw_signal(instance, name)
    try:
        return found[arguments] if arguments else found
    except (KeyError, IndexError):
        return found


def _raw_signal(instance: Any, name: str) -> Any:
    owner = next(one for one in type(instance).__mro__ if one in _originals)
    return _originals[owner](instance, name)


def _count(signal: str) -> int:
    inside = signal[signal.index("(") + 1 : signal.rindex(")")] if "(" in signal else ""
    return 0 if not inside.strip() else len(re.split(r",(?![^<]*>)", inside))


def connect(instance: Any, signal: str, receiver: Callable[..., Any], *more: Any) -> bool:
    """PythonQt's connect: a signature and a callable."""
    if not isinstance(signal, str) or not callable(receiver) or more:
        raise TypeError("connect takes a signal's signature and a callable")
    if "(" not in signal:
        raise ValueError(f"{type(instance).__name__} has no signal {signal}: write its signature")
    found, slot = _signals(instance, signal), errors.as_slot(receiver, _count(signal))
    found.connect(slot)
    _slots[(id(instance), signal, receiver)] = (found, slot)
    return True


def disconnect(instance: Any, signal: str, receiver: Callable[..., Any]) -> bool:
    """PythonQt's disconnect: False where nothing was connected."""
    known = _slots.pop((id(instance), signal, receiver), None)
    if known is None:
        return False
    known[0].disconnect(known[1])
    return True


class _Signal:
    """`button.clicked` of PythonQt: it has connect and disconnect, and calling it emits."""

    def __init__(self, instance: Any, signal: Any) -> None:
        self._instance, self._signal = instance, signal

    def connect(self, receiver: Callable[..., Any]) -> bool:
        slot = errors.as_slot(receiver)
        self._signal.connect(slot)
        _slots[(id(self._instance), str(self._signal), receiver)] = (self._signal, slot)
        return True

    def disconnect(self, receiver: Callable[..., Any]) -> bool:
        known = _slots.pop((id(self._instance), str(self._signal), receiver), None)
        if known is None:
            return False
        known[0].disconnect(known[1])
        return True

    def emit(self, *arguments: Any) -> None:
        self._signal.emit(*arguments)

    def __getitem__(self, key: Any) -> Any:
        return self._signal[key]


def _getter(original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def get(self: Any, name: str) -> Any:
        if name == "connect":
            return lambda *arguments: connect(self, *arguments)
        if name == "disconnect":
            return lambda *arguments: disconnect(self, *arguments)
        if name == "className":
            return lambda: next(one.__name__ for one in type(self).__mro__ if one in strict_types)
        found = original(self, name)
        return _Signal(self, found) if isinstance(found, QtCore.SignalInstance) else found

    return get


strict_types: set[type] = set()
"""Classes whose instances take no new attributes: C++ objects as Python sees them. Classes made in Python do."""


def _put(self: Any, name: str, value: Any) -> None:
    kind = type(self)
    found = getattr(kind, name, None)
    if hasattr(found, "__set__"):
        found.__set__(self, value)
        return
    is_private = name.startswith("_") and not kind.__module__.startswith("PySide6")
    if _is_strict[0] and kind in strict_types and not is_private and not isinstance(value, QtCore.SignalInstance):
        raise AttributeError(
            f"Attribute '{name}' does not exist and creation of new attributes on C++ objects is not allowed"
        )
    self.__dict__[name] = value


def make_strict(kind: type) -> None:
    """Let nobody add attributes to instances of a class; PySide does not hand __setattr__ down to derived classes."""
    kind.__setattr__ = _put  # type: ignore[method-assign, assignment]
    strict_types.add(kind)


_originals: dict[type, Callable[[Any, str], Any]] = {}


def install() -> None:
    """Change PySide6's classes for the rest of this process; calling it again does nothing."""
    if _originals:
        return
    classes = list(qt_classes())
    _originals.update({one: one.__getattribute__ for one in classes})  # type: ignore[misc]
    for one in classes:
        meta = one.staticMetaObject  # type: ignore[attr-defined]
        for index in range(meta.propertyOffset(), meta.propertyCount()):
            name = meta.property(index).name()
            setattr(one, name, _property(name))
        one.__getattribute__ = _getter(_originals[one])  # type: ignore[method-assign]
        make_strict(one)
    _narrow_file_dialogs()


def _narrow_file_dialogs() -> None:
    """In PythonQt a static dialog returns its first result alone, a path or a text, never a tuple."""
    for owner, names in (
        (QtWidgets.QFileDialog, ("getOpenFileName", "getSaveFileName", "getOpenFileNames")),
        (QtWidgets.QInputDialog, ("getText", "getItem", "getInt", "getDouble", "getMultiLineText")),
    ):
        for name in names:
            setattr(owner, name, staticmethod(_unanswered(f"{owner.__name__}.{name}")))


def _unanswered(name: str) -> Callable[..., Any]:
    def ask(*_: Any) -> Any:
        raise AssertionError(f"{name} would wait for ever in a test: answer it with monkeypatch (it returns one value)")

    return ask
