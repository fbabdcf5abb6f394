"""Functions of neural networks on arrays and symbolic tensors."""

__all__: list[str] = []
