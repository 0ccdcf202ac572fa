"""Simulation code for all tasks: engine, cameras, kinematics, action space."""
