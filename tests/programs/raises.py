"""Ends with a traceback."""
import sys, time

print(time.time())
raise ValueError(f"at {time.time()}: {sys.argv[1]}")
