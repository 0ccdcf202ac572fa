"""The operator: devices, events, handover and effort."""
