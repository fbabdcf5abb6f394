"""Small data sets: ``load_data()`` of each module downloads, verifies and caches its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.runtime.lazy import names_of

if TYPE_CHECKING:
    from lamina.datasets import boston_housing as boston_housing
    from lamina.datasets import california_housing as california_housing
    from lamina.datasets import cifar10 as cifar10
    from lamina.datasets import cifar100 as cifar100
    from lamina.datasets import fashion_mnist as fashion_mnist
    from lamina.datasets import imdb as imdb
    from lamina.datasets import mnist as mnist
    from lamina.datasets import reuters as reuters

__getattr__, __dir__ = names_of(
    __name__,
    {},
    submodules=(
        "boston_housing california_housing cifar10 cifar100 fashion_mnist imdb mnist reuters"
    ),
)
