"""LeRobot's dataset format, read and written with pyarrow and PyAV."""
