"""Settings that those who have read them rely on."""

from __future__ import annotations


class Settled:
    """Each attribute is set once: a trainer that was given the object would not see a change."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self):
            raise AttributeError(f"{name}: cannot be changed; make another {type(self).__name__}")
        object.__setattr__(self, name, value)
