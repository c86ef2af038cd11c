"""From a stored sample to a network's input: what every such step offers, whatever the sample is.

One file of this package a kind of sample: pictures, words, ...; `bundle.json` keeps the settings of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

P = TypeVar("P", bound="Preprocess")


class Preprocess(Protocol):
    """Settings of one way to prepare samples.

    Attributes:
        KIND: What `bundle.json` calls this way.
    """

    KIND: ClassVar[str]

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`: the `kind` and the settings, as JSON has them."""
        ...

    @classmethod
    def from_dict(cls: type[P], document: Mapping[str, Any]) -> P:
        """Read back what `as_dict` wrote."""
        ...
