"""subprocess in its forms."""
import os, signal, subprocess, sys, time

run = subprocess.run
print(run(["date", "+%N"], capture_output=True, text=True))
print(run("echo $$ $PPID; echo err >&2; exit 3", shell=True, capture_output=True, text=True))
print(run(["sort", "-r"], input="b\na\nc\n", capture_output=True, text=True).stdout)
print(run(["env"], env={"ONLY": "this"}, capture_output=True, text=True).stdout)
print(run(["pwd"], cwd="/usr", capture_output=True, text=True).stdout)
sys.stdout.flush()
run(["sh", "-c", "echo straight to stdout"])
first = subprocess.Popen(["seq", "100000"], stdout=subprocess.PIPE)
second = subprocess.Popen(["tail", "-2"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
print(second.communicate(), first.wait())
child = subprocess.Popen(["sleep", "60"])
time.sleep(0.01)
child.send_signal(signal.SIGTERM)
print(child.pid, child.wait())
try:
    run(["sleep", "60"], timeout=0.02)
except subprocess.TimeoutExpired as error:
    print(error)
try:
    run(["/does/not/exist"])
except FileNotFoundError as error:
    print(error)
inner = "import os, sys, time; print(os.getpid(), time.time(), sys.stdin.read())"
print(run([sys.executable, "-c", inner], input="in", capture_output=True, text=True))
pipe = subprocess.PIPE
child = subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, text=True, bufsize=1)
for i in range(5):
    child.stdin.write(f"{i} {time.time()}\n")
    print(child.stdout.readline())
child.stdin.close()
print(child.wait(), os.popen("echo popen $$").read())
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 6"], os.environ)
print(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
pid = os.fork()
if pid == 0:
    os.execvp("echo", ["echo", "execvp", str(os.getpid())])
print(os.waitpid(pid, 0))
print("done")
