"""Reads the clock all the time while a child sleeps; then waits in every way with a timeout, as
event loops do: until the clock says that it is over. Prints how often each had to wait."""
import select
import subprocess
import sys
import threading
import time

child = subprocess.Popen(["sleep", sys.argv[1]])
while child.poll() is None:
    time.monotonic(), time.time()

poll, epoll = select.poll(), select.epoll()
ways = {
    "select": lambda left: select.select([], [], [], left),
    "poll": lambda left: poll.poll(left * 1000 + 1),
    "epoll": lambda left: epoll.poll(left),
    "sleep": time.sleep,
    "lock": lambda left: threading.Event().wait(left),
}
for clock in (time.monotonic, time.time):
    for name, wait in ways.items():
        end, waits = clock() + 0.1, 0
        while (left := end - clock()) > 0:
            wait(left)
            waits += 1
        print(name, "ended" if waits < 4 else waits)
