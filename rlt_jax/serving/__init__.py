"""The frozen VLA over a socket, by the protocol of openpi's policy server."""
