"""The type parameters of repositories and of handles: the class of the rows first, then what most leave to its default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from keyweave.model.record import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as _TypeVar

    K = _TypeVar("K", default=str)
    N = _TypeVar("N", bound=str, default=Any)
    V = _TypeVar("V", bound=str, default=Any)

    class Keyed(Generic[R, K, N, V]):
        """Parent of repositories.

        The parameters are the class of the rows, the type of keys, and literals of the names of the numeric fields and of the
        views. `Repository[Product]` is the type of any repository of products with text keys.
        """

        __slots__ = ()

    class KeyedRows(Generic[T, K]):
        """Parent of handles of rows. The parameters are the class of the rows and the type of their keys."""

        __slots__ = ()

else:
    # Type parameters with defaults need Python 3.13 or a package that the runtime does not depend on.
    K = N = V = Any

    class KeyedRows(Generic[T]):
        """Parent of handles of rows, with the class of the rows as its only parameter at run time."""

        __slots__ = ()

        def __class_getitem__(cls, parameters: Any) -> Any:
            """Accept the parameters that only type checkers need."""
            return super().__class_getitem__(parameters[0] if isinstance(parameters, tuple) else parameters)

    class Keyed(KeyedRows[R]):
        """Parent of repositories, with the class of the rows as its only parameter at run time."""

        __slots__ = ()
