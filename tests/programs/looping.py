"""asyncio: streams over TLS, timers, processes, threads, signals."""
import asyncio, os, random, signal, ssl, sys, time
from urllib.parse import urlsplit

secure = urlsplit(sys.argv[1])


async def stream(number):
    context = ssl.create_default_context()
    reader, writer = await asyncio.open_connection("localhost", secure.port, ssl=context)
    writer.write(b"GET /stream?n=5&ms=2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    async for line in reader:
        print(number, line)
    writer.close()


async def ticking(name):
    for i in range(5):
        await asyncio.sleep(random.random() / 200)
        print(name, i, asyncio.get_running_loop().time())


async def echo(reader, writer):
    async for line in reader:
        writer.write(line[::-1] + str(time.time()).encode() + b"\n")
        await writer.drain()
    writer.close()


async def main():
    await asyncio.gather(*(stream(n) for n in range(8)), *(ticking(n) for n in "ab"))
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"forwards\n")
    print(port, await reader.readline(), await reader.readline())
    writer.close()
    server.close()
    process = await asyncio.create_subprocess_shell(
        "echo $$; date +%N; sleep 0.01; exit 4", stdout=asyncio.subprocess.PIPE)
    print(await process.communicate(), process.returncode)
    print(await asyncio.to_thread(lambda: (os.getpid(), time.time())))
    got = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait()
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.01)
    except TimeoutError as error:
        print(repr(error))


asyncio.run(main())
print("done")
