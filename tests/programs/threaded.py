"""Threads that stream, share a queue, race for locks, and are told apart."""
import concurrent.futures, queue, random, sys, threading, time, urllib.request

secure, plain = sys.argv[1:3]
results = queue.Queue()


def stream(number):
    with urllib.request.urlopen(f"{(secure, plain)[number % 2]}/stream?n=6&ms=2") as answer:
        for line in answer:
            results.put((number, threading.get_native_id(), time.time(), line))


threads = [threading.Thread(target=stream, args=(n,)) for n in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
while not results.empty():
    print(results.get())

counter, lock, order = 0, threading.Lock(), []


def race(name):
    global counter
    for i in range(200):
        with lock:
            counter += 1
            order.append(name)
        if random.random() < 0.05:
            time.sleep(0.0005)
        sum(range(500))


with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(race, "abcd"))
print(counter, "".join(order))
event = threading.Event()
timer = threading.Timer(0.01, event.set)
timer.start()
print(event.wait(5), threading.enumerate())
# Two threads that compute: the interpreter's lock goes from one to the other by the clock.
turns = []


def compute(name):
    end = time.monotonic() + 0.03
    while time.monotonic() < end:
        turns.append(name)


computing = [threading.Thread(target=compute, args=(n,)) for n in "xy"]
for thread in computing:
    thread.start()
for thread in computing:
    thread.join()
print(len(turns), hash("".join(turns)))
print("done")
