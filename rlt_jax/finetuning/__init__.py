"""Baselines that train the VLA itself: on a person's steps or on successes.

`config` says what is learned from and how, `collect` lets somebody drive,
`recorder` turns what they drove into demonstrations, `training` trains, and
`finetune_run` does one after the other. `recap` has a method of its own.
"""
