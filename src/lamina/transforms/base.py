"""What a transform is: parameters that are drawn once, and applied to all parts of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lamina.errors import ShapeError, StructureError
from lamina.transforms.boxes import clip, from_xyxy, to_xyxy
from lamina.transforms.draws import Draws, fold_in, key_of

Params = dict[str, Any]
Shape = tuple[Any, ...]  # (batch, height, width, channels) of the images


class Transform:
    """Base of the transforms of images and of what belongs to them.

    A subclass draws its parameters with :meth:`draw`, one row for each image, and applies them
    with :meth:`images`, :meth:`masks`, :meth:`boxes` and :meth:`labels`, to batches whose channels
    are last. The array module ``xp`` is NumPy or ``jax.numpy``.

    Args:
        fields: The arguments of the layer, by name, and:
            ``dtype``, the name of the dtype of the resulting images.

    >>> from lamina.transforms.flipping import Flip
    >>> flip = Flip(mode="horizontal", data_format="channels_last", dtype="float32")
    >>> flip(np.arange(3.0).reshape(1, 3, 1), seed=1).ravel().tolist()
    [2.0, 1.0, 0.0]
    """

    data_format: str
    dtype: str
    name: str
    bounding_box_format: str | None
    keeps_integers = False  # of images
    float_masks = False

    def __init__(self, **fields: Any) -> None:
        vars(self).update({"bounding_box_format": None, "name": type(self).__name__, **fields})

    # ---- what subclasses define --------------------------------------------------------------

    def draw(self, draws: Draws, shape: Shape) -> Params | None:
        """The parameters of a batch; None if it stays as it is."""
        return {}

    def at_rest(self, shape: Shape) -> Params | None:
        """The parameters outside training; None if the batch stays as it is."""
        return None

    def images(self, xp: Any, x: Any, params: Params) -> Any:
        """Apply the parameters to images in at least single precision."""
        return x

    def masks(self, xp: Any, x: Any, params: Params) -> Any:
        """Apply the parameters to segmentation masks, whose dtype stays the same."""
        return x

    def boxes(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        """Apply the parameters to boxes ``(batch, n, 4)`` in pixels, as left, top, right, bottom.

        Returns:
            The boxes, which are clipped to the image afterwards.
        """
        return boxes

    def labels(self, xp: Any, y: Any, params: Params) -> Any:
        """Apply the parameters to the labels of images."""
        return y

    def joined(self, xp: Any, boxes: Mapping[str, Any], params: Params) -> Mapping[str, Any]:
        """Add or remove boxes, with their labels."""
        return boxes

    def new_size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """The size of the resulting images."""
        return height, width

    # ---- application ---------------------------------------------------------------------------

    def __call__(self, data: Any, seed: Any = 0, training: bool = True) -> Any:
        """Transform NumPy data, in any process.

        Args:
            data: As the layer takes it.
            seed: An integer, or the two words of a key: the data of a key of ``jax.random``. With
                the same key, the layer draws the same numbers on a device.
            training: Whether to change the data at random.
        """
        key = key_of(seed) if isinstance(seed, int) else np.asarray(seed, "uint32")
        return self.apply(np, data, Draws(key), training)

    def apply(self, xp: Any, data: Any, draws: Any, training: bool) -> Any:
        """Transform images, or a dict of images and what belongs to them.

        Args:
            xp: The array module.
            data: Images, or a dict with the keys ``images``, ``labels``, ``bounding_boxes`` and
                ``segmentation_masks``; other entries are returned unchanged.
            draws: Random numbers, if it needs any.
            training: Whether to change the data at random.

        Raises:
            ShapeError: The images have a wrong number of axes.
            StructureError: Bounding boxes without labels, or without a format.
        """
        sample = data if isinstance(data, Mapping) else {"images": data}
        if "images" not in sample:
            raise StructureError(
                f"{self.name} expects images, or a dict with the key 'images'. "
                f"Received a dict with {list(sample)}."
            )
        images = xp.asarray(sample["images"])
        single = self.is_single(images)
        shape = self.shape_of(images)
        params = self.draw(draws, shape) if training else self.at_rest(shape)
        done = dict(sample)
        done["images"] = self.on_images(xp, images, params)
        if "segmentation_masks" in sample:
            masks = xp.asarray(sample["segmentation_masks"])
            if masks.ndim != images.ndim:
                raise ShapeError(
                    f"{self.name} expects segmentation masks with an axis of channels, as images.",
                    expected=f"{images.ndim} axes, such as {(*shape[4 - images.ndim : 3], 1)}",
                    received=f"shape {tuple(masks.shape)}",
                    cure="Add it: `masks[..., None]`.",
                )
            done["segmentation_masks"] = self.on_masks(xp, masks, params)
        if "bounding_boxes" in sample:
            boxes = sample["bounding_boxes"]
            done["bounding_boxes"] = self.on_boxes(xp, boxes, params, shape[1:3], single)
        if "labels" in sample:
            done["labels"] = self.on_labels(xp, xp.asarray(sample["labels"]), params, single)
        return done if isinstance(data, Mapping) else done["images"]

    def is_single(self, images: Any) -> bool:
        """Whether there is one image, without a batch axis."""
        if images.ndim not in (3, 4):
            raise ShapeError(
                f"{self.name} expects images.",
                expected="3 axes, (height, width, channels), or 4 with the batch before them",
                received=f"shape {tuple(images.shape)}",
            )
        return images.ndim == 3

    def shape_of(self, images: Any) -> Shape:
        """``(batch, height, width, channels)`` in either layout."""
        shape = (1, *images.shape) if images.ndim == 3 else tuple(images.shape)
        n, *rest = shape
        channels = rest.pop(0 if self.data_format == "channels_first" else -1)
        return (n, *rest, channels)

    def _in_layout(self, xp: Any, x: Any, change: Callable[[Any], Any]) -> Any:
        """Apply a function of batches with channels last to images in any layout."""
        first = self.data_format == "channels_first"
        single = x.ndim == 3
        x = x[None] if single else x
        x = xp.moveaxis(x, 1, -1) if first else x
        x = change(x)
        x = xp.moveaxis(x, -1, 1) if first else x
        return x[0] if single else x

    def on_images(self, xp: Any, x: Any, params: Params | None) -> Any:
        """Transform images in the layout of the layer."""
        dtype = str(x.dtype) if self.keeps_integers and x.dtype.kind in "iu" else self.dtype
        if params is not None:
            wide = "float64" if str(x.dtype) == dtype == "float64" else "float32"
            x = self._in_layout(xp, x.astype(wide), lambda x: self.images(xp, x, params))
        return cast(xp, x, dtype)

    def on_masks(self, xp: Any, x: Any, params: Params | None) -> Any:
        """Transform segmentation masks."""
        if params is None:
            return x
        if self.float_masks and x.dtype.kind in "iub":
            x = x.astype("float32")
        return self._in_layout(xp, x, lambda x: self.masks(xp, x, params))

    def on_labels(self, xp: Any, y: Any, params: Params | None, single: bool) -> Any:
        """Transform labels."""
        if params is None:
            return y
        return self.labels(xp, y[None], params)[0] if single else self.labels(xp, y, params)

    def on_boxes(
        self, xp: Any, boxes: Any, params: Params | None, size: tuple[Any, Any], single: bool
    ) -> Any:
        """Transform a dict of bounding boxes and their labels."""
        boxes = self._dense(xp, boxes)
        if params is None:
            return boxes
        if single:
            boxes = {**boxes, **{k: boxes[k][None] for k in ("boxes", "labels")}}
        boxes = self.joined(xp, boxes, params)
        changed = self._moved(xp, boxes["boxes"], params, size)
        if changed is not None:
            valid, moved = changed
            boxes = {**boxes, "boxes": moved}
            labels = boxes["labels"]
            valid = valid.reshape(valid.shape + (1,) * (labels.ndim - valid.ndim))
            boxes["labels"] = xp.where(valid, labels, xp.asarray(-1, labels.dtype))
        if single:
            boxes = {**boxes, **{k: boxes[k][0] for k in ("boxes", "labels")}}
        return boxes

    def _moved(self, xp: Any, boxes: Any, params: Params, size: tuple[Any, Any]) -> Any:
        """Boxes in their own format after the transform, and which have an area; or None."""
        if type(self).boxes is Transform.boxes:
            return None
        if self.bounding_box_format is None:
            raise StructureError(
                f"{self.name} received bounding boxes in an unknown format.",
                cure="Pass it to the layer: `bounding_box_format='xyxy'`, or what it is.",
            )
        corners = to_xyxy(xp, boxes, self.bounding_box_format, *size)
        height, width = self.new_size(*size)
        corners = clip(xp, self.boxes(xp, corners, params, size), height, width)
        valid = (corners[..., 2] > corners[..., 0]) & (corners[..., 3] > corners[..., 1])
        return valid, from_xyxy(xp, corners, self.bounding_box_format, height, width)

    def _dense(self, xp: Any, boxes: Any) -> dict[str, Any]:
        """Boxes and labels as arrays; lists are padded with boxes of zeros and the label -1."""
        if not isinstance(boxes, Mapping) or not {"boxes", "labels"} <= set(boxes):
            found = list(boxes) if isinstance(boxes, Mapping) else type(boxes).__name__
            raise StructureError(
                f"{self.name} expects bounding boxes as a dict with 'boxes' and 'labels'. "
                f"Received: {found}."
            )
        found, labels = boxes["boxes"], boxes["labels"]
        is_list = isinstance(found, (list, tuple)) and len(found) > 0
        if is_list and all(np.ndim(b) == 2 or len(b) == 0 for b in found):
            most = max(map(len, found))
            pad = [most - len(b) for b in found]
            found = np.stack([np.pad(np.asarray(b, "float32").reshape(-1, 4), ((0, n), (0, 0)))
                              for b, n in zip(found, pad, strict=True)])  # fmt: skip
            labels = np.stack([np.pad(np.asarray(y, "int32"), (0, n), constant_values=-1)
                               for y, n in zip(labels, pad, strict=True)])  # fmt: skip
        found, labels = xp.asarray(found, "float32"), xp.asarray(labels)
        if found.ndim not in (2, 3) or found.shape[-1] != 4:
            raise ShapeError(
                f"{self.name} expects four numbers for each bounding box.",
                expected="boxes of shape (n, 4), or (batch, n, 4)",
                received=f"shape {tuple(found.shape)}",
            )
        return {**boxes, "boxes": found, "labels": labels}


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a name; the package ``ml_dtypes`` adds bfloat16."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def cast(xp: Any, x: Any, dtype: str) -> Any:
    """Cast to a dtype; integers are rounded and clipped to its range."""
    if str(x.dtype) == dtype:
        return x
    if numpy_dtype(dtype).kind in "iu" and x.dtype.kind == "f":
        limits = np.iinfo(dtype)
        x = xp.clip(xp.round(x), limits.min, limits.max)
    return x.astype(numpy_dtype(dtype))


def choose(xp: Any, index: Any, branches: list[Callable[[Any], Any]], x: Any) -> Any:
    """Apply one of several functions that return arrays of the same shape."""
    if xp is np:
        return branches[int(index)](x)
    import jax

    return jax.lax.switch(index, branches, x)


def repeat(xp: Any, times: int, change: Callable[[Any, Any], Any], x: Any) -> Any:
    """Apply a function of the iteration's index and of the value several times."""
    if xp is np:
        for i in range(times):
            x = change(i, x)
        return x
    import jax

    return jax.lax.fori_loop(0, times, change, x)


def element_key(seed: int, epoch: int, index: int) -> np.ndarray:
    """The key for one element of a data set, whatever process computes it.

    >>> element_key(0, 0, 1).tolist() == element_key(0, 1, 0).tolist()
    False
    """
    return fold_in(fold_in(key_of(seed), epoch), index)


__all__ = [
    "Params", "Shape", "Transform", "cast", "choose", "element_key", "numpy_dtype",
    "repeat",
]  # fmt: skip
