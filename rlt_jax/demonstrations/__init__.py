"""Demonstrations by the scripted expert: rolled out, rendered, recorded."""
