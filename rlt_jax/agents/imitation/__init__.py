"""Pure imitation of the reference: the beta term of Eq. 5 alone."""
