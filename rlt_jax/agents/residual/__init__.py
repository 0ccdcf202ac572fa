"""A bounded residual on the VLA's chunk, after PLD."""
