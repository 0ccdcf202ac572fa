"""LeRobot's PyTorch VLAs behind our server; JAX is not needed."""
