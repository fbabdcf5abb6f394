"""Scikit-learn classifier, regressor and transformer that train a model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from lamina import saving
from lamina.callbacks import History
from lamina.errors import ArgumentError, NotCompiledError, ShapeError
from lamina.models import Model
from lamina.models.cloning import clone_model
from lamina.tree import nested

_T = TypeVar("_T")

_ARGUMENTS = """
    Args:
        model: A compiled model, or a function that returns one. Each fit trains a copy of the model
            with newly initialized weights. The function is called with the arguments ``X`` (float64
            of shape ``(n, features)``) and ``y`` (the encoded targets), and with ``model_kwargs``.
        warm_start: Whether another fit continues to train the same model.
        model_kwargs: Further arguments of ``model`` if it is a function.
        fit_kwargs: Arguments of :meth:`lamina.Model.fit`: ``epochs``, ``batch_size``,
            ``verbose``, ... Arguments of :meth:`fit` take precedence.

    Attributes:
        model_: The trained model.
        history_: The :class:`lamina.callbacks.History` of the last fit.
        epoch_: Number of epochs of the last fit.
        n_features_in_: Number of columns of ``X``.
"""


def _documented(cls: type[_T]) -> type[_T]:
    cls.__doc__ = (cls.__doc__ or "").replace("    {arguments}\n", _ARGUMENTS.strip("\n") + "\n")
    return cls


class _Estimator(BaseEstimator):
    """Base class of the three estimators."""

    def __init__(
        self,
        model: Model | Callable[..., Model],
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Self:
        """Train a model.

        Args:
            X: Numbers of shape ``(n, features)``: an array, a list, a data frame.
            y: Targets of shape ``(n,)``.
            **kwargs: Arguments of :meth:`lamina.Model.fit`, such as ``epochs`` and
                ``sample_weight``, which take precedence over ``fit_kwargs``.

        Returns:
            This estimator.

        Raises:
            ValueError: If ``X`` or ``y`` is not valid for scikit-learn's estimators.
            ArgumentError: If ``model`` is neither a model nor a function that returns one.
            NotCompiledError: If the model is not compiled.
        """
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=self._y_is_numeric)
        targets = self._encoded(y)
        model = self._model_to_train(X, targets)
        options = {**(self.fit_kwargs or {}), **kwargs}
        self.history_ = model.fit(X, targets, **options)
        self.model_ = model
        return self

    # Whether targets are numbers; classes may be strings.
    _y_is_numeric = True

    def _encoded(self, y: np.ndarray) -> np.ndarray:
        """Targets with two axes, like the outputs of the model."""
        self._targets_were_1d = y.ndim == 1 or y.shape[1] == 1
        return y.reshape(len(y), -1)

    def _model_to_train(self, X: np.ndarray, targets: np.ndarray) -> Model:
        if self.warm_start and "model_" in vars(self):
            return self.model_
        if isinstance(self.model, Model):
            _must_be_compiled(self.model)
            model = clone_model(self.model)
            model.compile_from_config(_renewed(self.model.compile_arguments()))
            return model
        if not callable(self.model):
            raise ArgumentError(
                f"{type(self).__name__}: `model` expects a compiled model, or a function that "
                f"returns one. Received: {self.model!r}."
            )
        model = self.model(X=X, y=targets, **(self.model_kwargs or {}))
        if not isinstance(model, Model):
            raise ArgumentError(
                f"{type(self).__name__}: `model` expects a function that returns a model. "
                f"It returned: {model!r}."
            )
        _must_be_compiled(model)
        return model

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False)
        return np.asarray(self.model_.predict(X, verbose=0))

    def predict(self, X: Any) -> np.ndarray:
        """The outputs of the model for ``X``, of shape ``(n,)`` if ``y`` had that shape."""
        outputs = self._outputs(X)
        return outputs.ravel() if self._targets_were_1d and outputs[0].size == 1 else outputs

    @property
    def epoch_(self) -> int:
        """The number of epochs of the last fit."""
        check_is_fitted(self, "history_")
        return len(self.history_.epoch)

    # ---- scikit-learn's protocols ----------------------------------------------------------------

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.target_tags.required = True
        return tags

    def __sklearn_clone__(self) -> Self:
        """An unfitted estimator with the same arguments, which shares the model: fits copy it."""
        arguments = self.get_params(deep=False)
        copies: dict[str, Any] = {
            k: v if k == "model" else clone(v, safe=False) for k, v in arguments.items()
        }
        return type(self)(**copies)

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {k: _Stored.of(v) for k, v in state.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(
            {k: v.value() if isinstance(v, _Stored) else v for k, v in state.items()}
        )


class _Stored:
    """A model or its history in a form that can be pickled."""

    def __init__(self, content: bytes | dict[str, Any]) -> None:
        self.content = content

    @classmethod
    def of(cls, value: Any) -> Any:
        if isinstance(value, History):
            return cls({"epoch": value.epoch, "history": value.history, "params": value.params})
        if not isinstance(value, Model):
            return value
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            saving.save_model(value, path)
            return cls(path.read_bytes())

    def value(self) -> Model | History:
        if isinstance(self.content, dict):
            history = History()
            history.epoch, history.history = self.content["epoch"], self.content["history"]
            history.params = self.content["params"]
            return history
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(self.content)
            return saving.load_model(path)


def _must_be_compiled(model: Model) -> None:
    if not model.compiled:
        raise NotCompiledError(
            f"An estimator expects a compiled model. Call "
            f"`compile(optimizer, loss)` of {model.name!r} first."
        )


def _renewed(compile_config: Mapping[str, Any]) -> Any:
    """The arguments of ``compile`` with new optimizers, losses and metrics, which have state."""

    def renew(value: Any) -> Any:
        cls: Any = type(value)
        return cls.from_config(value.get_config()) if hasattr(cls, "from_config") else value

    return nested.map_structure(renew, dict(compile_config))


@_documented
class SKLearnClassifier(ClassifierMixin, _Estimator):
    """A model as a scikit-learn classifier.

    The model is trained on one-hot targets, also for two classes, so its last layer needs one unit
    for each class, for example with softmax and ``"categorical_crossentropy"``.

    {arguments}
        classes_: The labels of the classes, sorted.

    >>> import numpy as np
    >>> import lamina
    >>> from sklearn.datasets import make_classification
    >>> def network(X, y, units):
    ...     inputs = lamina.Input((X.shape[1],))
    ...     x = lamina.layers.Dense(units, activation="relu")(inputs)
    ...     outputs = lamina.layers.Dense(y.shape[1], activation="softmax")(x)
    ...     model = lamina.Model(inputs, outputs)
    ...     model.compile("adam", "categorical_crossentropy")
    ...     return model
    >>> X, y = make_classification(200, 5, random_state=0)
    >>> estimator = SKLearnClassifier(network, model_kwargs={"units": 8})
    >>> estimator.fit(X, y, epochs=5, verbose=0).predict(X[:3]).shape
    (3,)
    """

    _y_is_numeric = False

    def _encoded(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(
                "Classifier can't train when only one class is present: "
                f"{self.classes_.tolist()}. Pass targets of at least two classes."
            )
        self._targets_were_1d = True
        return np.eye(len(self.classes_))[numbers]

    def predict(self, X: Any) -> np.ndarray:
        """The class with the largest output for each row of ``X``, of shape ``(n,)``."""
        outputs = self.decision_function(X)
        if outputs.shape[1:] != self.classes_.shape:
            raise ShapeError(
                f"A classifier expects a model with one output for each of its "
                f"{len(self.classes_)} classes. Received outputs of shape {outputs.shape}."
            )
        return self.classes_[outputs.argmax(-1)]

    def decision_function(self, X: Any) -> np.ndarray:
        """The outputs of the model, of shape ``(n, classes)``, also for two classes."""
        return self._outputs(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


@_documented
class SKLearnRegressor(RegressorMixin, _Estimator):
    """A model as a scikit-learn regressor.

    The model is trained on targets of shape ``(n, 1)``, or ``(n, columns)`` if ``y`` has columns.

    {arguments}

    >>> import lamina
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(100, 5, random_state=0)
    >>> inputs = lamina.Input((5,))
    >>> model = lamina.Model(inputs, lamina.layers.Dense(1)(inputs))
    >>> model.compile("sgd", "mse")
    >>> estimator = SKLearnRegressor(model, fit_kwargs={"epochs": 3, "verbose": 0})
    >>> estimator.fit(X, y).predict(X[:4]).shape
    (4,)
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True
        return tags


@_documented
class SKLearnTransformer(TransformerMixin, _Estimator):
    """A model as a scikit-learn transformer: a step of a pipeline that transforms ``X``.

    The model is trained on the targets ``y``; for an autoencoder they are ``X`` itself.

    {arguments}

    >>> import lamina
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(100, 5, random_state=0)
    >>> inputs = lamina.Input((5,))
    >>> model = lamina.Model(inputs, lamina.layers.Dense(5)(inputs))
    >>> model.compile("sgd", "mse")
    >>> estimator = SKLearnTransformer(model, fit_kwargs={"epochs": 3, "verbose": 0})
    >>> estimator.fit(X, X).transform(X[:4]).shape
    (4, 5)
    """

    def transform(self, X: Any) -> np.ndarray:
        """The outputs of the model for ``X``, with at least two axes, unlike :meth:`predict`."""
        return self._outputs(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = []
        return tags
