"""Runs a program and prints what crosses the interface out0 meanwhile, but for what the kernel says
of itself (neighbours, routers, groups)."""
import socket
import subprocess
import sys
import time

ETH_P_ALL = 3
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as frames:
    frames.bind(("out0", ETH_P_ALL))
    code = subprocess.run(sys.argv[1:]).returncode
    time.sleep(0.2)
    frames.setblocking(False)
    seen = set()
    while True:
        try:
            frame = frames.recv(65536)
        except BlockingIOError:
            break
        kind, ip = frame[12:14], frame[14:]
        if kind == b"\x08\x00":
            seen.add(f"{socket.inet_ntop(socket.AF_INET, ip[16:20])} {ip[9]}")
        elif kind == b"\x86\xdd":
            to = socket.inet_ntop(socket.AF_INET6, ip[24:40])
            if not to.startswith("ff02:"):
                seen.add(f"{to} {ip[6]}")
        elif frame[:12] == b"\xff" * 12:
            seen.add("frame")
for line in sorted(seen):
    print("out:", line)
print("ended with", code)
