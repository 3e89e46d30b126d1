"""Makes the contract's classes over PySide6: what the contract does not name raises, what has no behaviour too.

A behaviour is a mixin: public methods of the contract, `_get_x` and `_set_x` for a property x, `_begin` after __init__.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from desktop.standin import errors, pythonqt
from desktop.standin.contract import ClassFacts, PropertyFacts, contract
from PySide6 import QtCore, QtWidgets

VIRTUALS = {
    "paintEvent", "sizeHint", "minimumSizeHint", "eventFilter", "resizeEvent", "showEvent", "hideEvent", "childEvent",
}  # fmt: skip
_behaviours: dict[str, type] = {}
_made: dict[str, type] = {}
_DEFAULTS: dict[str, Callable[[], Any]] = {
    "bool": bool, "int": int, "double": float, "QString": str, "QStringList": list, "QVariantMap": dict,
    "unsigned int": int,
}  # fmt: skip


def behaves(name: str) -> Callable[[type], type]:
    """Give a class of the contract its behaviour."""

    def register(behaviour: type) -> type:
        _behaviours[name] = behaviour
        return behaviour

    return register


class OwnSignal:
    """A signal of a stand-in: told apart by signature, connected by a callable."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> bool:
        self._slots.append(errors.as_slot(slot))
        self._slots[-1].of = slot  # type: ignore[attr-defined]
        return True

    def disconnect(self, slot: Callable[..., Any]) -> bool:
        kept = [one for one in self._slots if one is not slot and getattr(one, "of", None) != slot]
        is_known = len(kept) < len(self._slots)
        self._slots = kept
        return is_known

    def emit(self, *arguments: Any) -> None:
        for slot in list(self._slots):
            slot(*arguments)


class _SignalAttribute:
    """`widget.currentNodeChanged`: connect and disconnect, and the overloads by signature."""

    def __init__(self, overloads: dict[str, OwnSignal]) -> None:
        self._overloads = overloads

    def overload(self, signature: str) -> OwnSignal:
        return self._overloads[signature]

    def connect(self, slot: Callable[..., Any]) -> bool:
        return next(iter(self._overloads.values())).connect(slot)

    def disconnect(self, slot: Callable[..., Any]) -> bool:
        return next(iter(self._overloads.values())).disconnect(slot)


class _SignalDescriptor:
    def __init__(self, signatures: list[str]) -> None:
        self._signatures = signatures

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        known = instance.__dict__.setdefault("_own_signals", {})
        return _SignalAttribute({one: known.setdefault(one, OwnSignal()) for one in self._signatures})


def emit(instance: Any, signature: str, *arguments: Any) -> None:
    """Emit a signal of a stand-in by its signature; one that the contract does not name is an error."""
    pythonqt._signals(instance, signature).emit(*arguments)


def _fits(kind: str, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool | int)
    if kind in {"int", "unsigned int", "double"}:
        return isinstance(value, int | float)
    if kind == "QString":
        return isinstance(value, str)
    if kind == "QStringList":
        return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return True


def _property(name: str, facts: PropertyFacts, signals: tuple[str, ...]) -> property:
    default = _DEFAULTS.get(facts.type, lambda: None)
    told = [one for one in signals if facts.notify and one.split("(")[0] == facts.notify]

    def get(self: Any) -> Any:
        custom = getattr(type(self), f"_get_{name}", None)
        return custom(self) if custom else self._values.setdefault(name, default())

    def put(self: Any, value: Any) -> None:
        if not facts.is_writable:
            raise AttributeError(f"Property '{name}' of type '{type(self).__name__}' is not writable")
        if not _fits(facts.type, value):
            raise ValueError(f"Property '{name}' takes a {facts.type}, not a {type(value).__name__}")
        before = get(self)
        self._values[name] = value
        custom = getattr(type(self), f"_set_{name}", None)
        if custom:
            custom(self, value)
        if not custom and before != value:
            for signature in told:
                emit(self, signature, value)

    return property(get, put)


def _method(facts: ClassFacts, name: str, behaviour: Callable[..., Any] | None) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any) -> Any:
        if not facts.accepts(name, len(arguments)):
            raise ValueError(f"Could not find matching overload for given arguments: {facts.name}.{name}{arguments}")
        if behaviour is None:
            raise NotImplementedError(f"{facts.name}.{name} exists in Slicer; the stand-in has no behaviour for it")
        return behaviour(self, *arguments)

    call.__name__ = name
    return call


def _initialise(self: Any, *arguments: Any) -> None:
    self._values = {}
    base = next(one for one in type(self).__mro__ if one.__module__.startswith("PySide6"))
    base.__init__(self, *arguments)  # type: ignore[misc]
    for one in reversed(type(self).__mro__):
        if "_begin" in vars(one):
            vars(one)["_begin"](self)


def _missing(self: Any, name: str) -> Any:
    for one in type(self).__mro__:
        if name in getattr(one, "_hidden", ()):
            raise AttributeError(f"{type(self).__name__}.{name} is public in C++ but not exposed to Python")
    raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")


def stand_in(name: str) -> type:
    """The class of this name, made on first use; a name of PySide6's is PySide6's class."""
    if name not in contract():
        found = getattr(QtWidgets, name, None) or getattr(QtCore, name)
        return found  # type: ignore[no-any-return]
    if name not in _made:
        _made[name] = _make(contract()[name])
    return _made[name]


def _make(facts: ClassFacts) -> type:
    behaviour = _behaviours.get(facts.name, object)
    own: dict[str, Any] = {}
    for part in reversed(behaviour.__mro__[:-1]):
        own |= {key: value for key, value in vars(part).items() if not key.startswith("__")}
    invented = {key for key in own if not key.startswith("_")} - _reachable(facts) - VIRTUALS
    assert not invented, f"{facts.name}: {invented} do not exist in Slicer"
    members: dict[str, Any] = {key: value for key, value in own.items() if key not in facts.methods}
    for method in facts.methods:
        if method in facts.properties:
            # PythonQt finds the property first.
            continue
        given = own.get(method)
        if method in facts.static:
            members[method] = given if given is not None else staticmethod(_unsupported(f"{facts.name}.{method}"))
        elif given is not None or not _has_behaviour(facts.base, method):
            members[method] = _method(facts, method, given)
    for key, words in facts.properties.items():
        members[key] = _property(key, words, facts.signals)
    for signal in {one.split("(")[0] for one in facts.signals}:
        members[signal] = _SignalDescriptor([one for one in facts.signals if one.split("(")[0] == signal])
    for values in facts.enums.values():
        members.update({value: number for number, value in enumerate(values)})
    members |= {"own_signals": frozenset(facts.signals), "_hidden": facts.hidden, "__getattr__": _missing}
    members |= {"__init__": _initialise, "__module__": __name__, "__doc__": f"{facts.name} of Slicer 5.12."}
    made = type(facts.name, (stand_in(facts.base),), members)
    pythonqt.make_strict(made)
    return made


def _reachable(facts: ClassFacts) -> set[str]:
    """Methods of a class and of its bases."""
    base = contract().get(facts.base)
    return set(facts.methods) | (_reachable(base) if base else set())


def _has_behaviour(base: str, method: str) -> bool:
    """Whether a base already behaves: the same method of a derived class is listed again in the contract."""
    while base in contract():
        if method in vars(_behaviours.get(base, object)):
            return True
        base = contract()[base].base
    return False


def _unsupported(name: str) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise NotImplementedError(f"{name} exists in Slicer; the stand-in has no behaviour for it")

    return call
