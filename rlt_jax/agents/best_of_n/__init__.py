"""Q-chunking: critics choose among several chunks of the VLA."""
