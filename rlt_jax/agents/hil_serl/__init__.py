"""HIL-SERL's learner."""
