"""The name `keras` for Lamina, in one process: programs say ``import keras`` and run unchanged."""

from lamina.alias.finder import alias_keras as alias_keras
