"""The factory in which effects are registered; every segment editor takes clones of what is there."""

from __future__ import annotations

from typing import Any

from desktop.standin.generated import behaves, emit, stand_in


@behaves("qSlicerSegmentEditorEffectFactory")
class EffectFactory:
    """Every effect that was registered; editors take clones."""

    def _begin(self: Any) -> None:
        self._effects: list[Any] = []

    @staticmethod
    def instance() -> Any:
        return _factory[0]

    def registerEffect(self: Any, effect: Any) -> bool:  # noqa: N802
        if not effect.name or any(one.name == effect.name for one in self._effects):
            return False
        self._effects.append(effect)
        emit(self, "effectRegistered(QString)", effect.name)
        return True

    def registeredEffects(self: Any) -> list[Any]:  # noqa: N802
        return list(self._effects)


_factory: list[Any] = []


def new_factory() -> None:
    """A factory with the effects that the stories switch to; those have no behaviour of their own."""
    _factory[:] = [stand_in("qSlicerSegmentEditorEffectFactory")()]
    for name in ("Paint", "Erase", "Draw"):
        effect = stand_in("qSlicerSegmentEditorAbstractEffect")()
        effect.name = effect.title = name
        _factory[0].registerEffect(effect)
