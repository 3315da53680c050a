"""multiprocessing, by fork or by spawn."""
import multiprocessing, os, random, sys, time


def work(number):
    time.sleep(random.random() / 300)
    return number * number, os.getpid(), time.time(), random.random()


def talk(connection, queue):
    connection.send((os.getpid(), connection.recv()))
    queue.put(time.time())


def count(value, lock):
    for _ in range(20):
        with lock:
            value.value += 1


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    with context.Pool(3) as pool:
        for row in pool.map(work, range(12)):
            print(row)
        for row in pool.imap_unordered(work, range(6)):
            print(row)
    here, there = context.Pipe()
    queue = context.Queue()
    process = context.Process(target=talk, args=(there, queue))
    process.start()
    here.send("hello")
    print(here.recv(), queue.get())
    process.join()
    print(process.exitcode, process.pid)
    value, lock = context.Value("i", 0), context.Lock()
    processes = [context.Process(target=count, args=(value, lock)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(value.value)
    print("done")
