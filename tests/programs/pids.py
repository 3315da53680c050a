"""Prints its own ids and those of processes that it starts, and uses each of them."""
import ctypes
import os
import signal
import subprocess
import threading

print(os.getpid(), os.getppid(), threading.get_native_id())
parent = os.getpid()
child = os.fork()
if child == 0:
    os._exit(7 if os.getppid() == parent else 1)
print("forked", child, os.waitpid(child, 0)[1] >> 8)

senders = []
signal.signal(signal.SIGUSR1, lambda *_: senders.append("usr1"))
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
print("signals", senders)

# A group of its own, which is killed by its number.
group = subprocess.Popen(["sleep", "60"], start_new_session=True)
print("group", group.pid, os.getpgid(group.pid) == group.pid, os.getsid(group.pid) == group.pid)
os.killpg(group.pid, signal.SIGTERM)
print("ended", group.wait())

# Its files in /proc, by its number.
with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
    # It runs once it answers.
    cat.stdin.write(b"\n")
    cat.stdin.flush()
    cat.stdout.readline()
    print("name", open(f"/proc/{cat.pid}/comm").read().strip(), cat.pid)
print("own", open(f"/proc/{os.getpid()}/task/{os.getpid()}/comm").read().strip())

# Who sent a signal.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR2)
print("sender", signal.sigwaitinfo([signal.SIGUSR2]).si_pid == os.getpid())
failing = subprocess.Popen(["false"])
status = os.waitid(os.P_PID, failing.pid, os.WEXITED)
print("waited", status.si_pid, status.si_status)

libc = ctypes.CDLL(None)
print("priority", os.getpriority(os.PRIO_PROCESS, os.getpid()), libc.getpgrp() == os.getpgrp())
print(open("/proc/sys/kernel/random/uuid").read().strip())
