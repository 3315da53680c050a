# Reads the clocks as often as a file says before each of three requests, and tells the time after
# each.
import sys, time, urllib.request

url, readings = sys.argv[1], int(open("readings").read())
before = time.monotonic_ns()
for _ in range(3):
    for _ in range(readings):
        time.time_ns(), time.monotonic_ns()
    urllib.request.urlopen(url).read()
    now = time.monotonic_ns()
    print(time.time_ns(), before <= now)
    before = now
