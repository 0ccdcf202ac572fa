"""The same update written as others write it, for comparison only."""
