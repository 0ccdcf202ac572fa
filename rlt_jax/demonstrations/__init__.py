"""Demonstrations by an expert or a policy: rolled out, rendered, recorded."""
