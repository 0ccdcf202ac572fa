"""What tasks share: engine, cameras, kinematics, action space, worlds."""
