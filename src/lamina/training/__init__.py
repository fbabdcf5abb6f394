"""Training: objectives, pure steps, the loop that drives them, data, progress, callbacks."""
