"""What tasks share in which a held plug enters a fixed socket.

A task of this kind has its scene, its verdict, its settings and its cheats; the
rest is here, as functions of those.
"""
