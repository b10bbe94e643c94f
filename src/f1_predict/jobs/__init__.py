"""What each command does, step by step, in calls of the public functions; prints as it goes.

Knows no options and parses nothing: the command line does. Nothing is imported here, since most of it brings
PyTorch along.
"""
