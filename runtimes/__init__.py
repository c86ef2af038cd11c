"""One file an engine, behind one Protocol; and the measuring of what they run.

Needs NumPy and the one engine that is asked for, so that it runs on the board.
"""
