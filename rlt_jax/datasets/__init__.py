"""Robot datasets of other projects as demonstrations; no PyTorch."""
