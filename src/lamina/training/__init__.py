"""Training: objectives, checks, the training loop, progress and reports."""
