"""HIL-SERL's learner, without a person."""
