"""Pure steps over one training state, and how they are compiled and dispatched."""
