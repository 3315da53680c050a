"""What a Python program asks of its system: time, randomness, files, a database."""
import collections, datetime, glob, hashlib, json, logging, os, platform, random, secrets
import shutil, sqlite3, sys, tempfile, time, uuid

print(sys.version, platform.platform(), os.getpid(), os.cpu_count())
print(time.time_ns(), time.monotonic_ns(), time.perf_counter(), time.process_time())
print(datetime.datetime.now(), time.strftime("%c"))
print(uuid.uuid4(), uuid.uuid1(), random.random(), random.sample(range(100), 5))
print(secrets.token_hex(), os.urandom(4).hex(), hash("text"), id(object()))
print({str(n) for n in range(12)}, os.environ["HOME"], os.getcwd())
with tempfile.TemporaryDirectory() as place:
    print(place)
    for i in range(5):
        with tempfile.NamedTemporaryFile("w", dir=place, delete=False) as f:
            f.write(f"{i} {time.time()}\n" * 100)
    for name in glob.glob(f"{place}/*"):
        print(name, os.stat(name).st_mtime_ns, hashlib.sha256(open(name, "rb").read()).hexdigest())
    shutil.copy(name, "kept")
database = sqlite3.connect("data.db")
database.execute("create table t(id integer primary key, at real, word text)")
with database:
    rows = [(time.time(), str(uuid.uuid4())) for _ in range(200)]
    database.executemany("insert into t(at, word) values(?, ?)", rows)
print(database.execute("select count(*), max(at), random() from t").fetchall())
print(database.execute("select word from t order by word limit 3").fetchall())
database.execute("pragma journal_mode=wal")
with database:
    database.execute("update t set word = hex(randomblob(4)) where id % 3 = 0")
print(database.execute("select word from t where id < 9").fetchall())
database.close()
logging.basicConfig(format="%(asctime)s.%(msecs)d %(process)d %(thread)d %(message)s")
logging.warning("on stderr")
print(json.dumps(dict(collections.Counter(os.listdir("/usr/bin")).most_common(3))))
for root, names, files in os.walk("/usr/include/linux"):
    print(root, len(names), len(files), files[:2])
time.sleep(0.01)
print(time.time(), "done")
