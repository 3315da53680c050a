# Runs the jobs that are named, all at once: each says its name, pid and time. `fork` makes the
# children by fork, so that the parent knows their pids before they execute anything.
import subprocess, sys

how, *names = sys.argv[1:]
say = "echo {} $$ $(date +%s%N) $RANDOM" if how == "vfork" else "echo {} $(date +%s%N)"
jobs = []
for name in names:
    before = (lambda: None) if how == "fork" else None
    command = ["bash", "-c", say.format(name) + "; read"]
    jobs.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 preexec_fn=before, text=True))
print(*sorted(job.communicate("\n")[0] for job in jobs), sep="", end="")
print([job.returncode for job in jobs], len({job.pid for job in jobs}))
