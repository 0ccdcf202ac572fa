"""DSRL: a policy over the initial noise of the VLA's flow."""
