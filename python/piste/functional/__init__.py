"""Pure functions on NumPy arrays, named and called as those of ``torch.nn.functional``.

Every differentiable ``op(*args, **opts)`` has an ``op_backward(grad_output, *args, **opts)`` that
returns a tuple of gradients, one per differentiable array argument in order, ``None`` for an
argument that was ``None``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._operations import *  # noqa: F403
    from ._operations import __all__ as __all__
else:
    # All operations are imported when one is first asked for: a program that only trains needs
    # none. No module here is named as an operation is: imported by itself, it would hide that.

    def __getattr__(name: str) -> object:
        if not name.startswith("_") or name == "__all__":
            from . import _operations

            names = ("__all__", *_operations.__all__)
            globals().update({name: getattr(_operations, name) for name in names})
            if name in names:
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
