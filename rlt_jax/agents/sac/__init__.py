"""Soft actor-critic, the learner that DSRL, HIL-SERL and PLD share."""
