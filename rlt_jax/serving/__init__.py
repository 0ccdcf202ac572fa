"""The frozen VLA over a socket, in the words of openpi's policy server."""
