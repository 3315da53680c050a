"""Reads a stream piece by piece; tells when each came, by the monotonic clock, and its length."""
import sys, time, urllib.request

with urllib.request.urlopen(sys.argv[1]) as answer:
    while True:
        piece = answer.read1(65536)
        if not piece:
            break
        print(time.monotonic_ns(), len(piece), flush=True)
