"""What runs on the robot's computer: NumPy only, neither JAX nor MuJoCo."""
