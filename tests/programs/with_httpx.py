"""httpx, sync and async, HTTP/1.1 and HTTP/2."""
import asyncio, sys, time
import httpx

secure, plain = sys.argv[1:3]
for http2 in (False, True):
    with httpx.Client(http2=http2) as client:
        print(client.get(secure).text, client.get(plain).headers)
        with client.stream("GET", f"{secure}/stream?n=8&ms=2") as answer:
            print(answer.http_version)
            for piece in answer.iter_text():
                print(time.monotonic(), piece)


async def one(client, number):
    lines = []
    async with client.stream("GET", f"{secure}/stream?n=6&ms=2") as answer:
        async for line in answer.aiter_lines():
            lines.append(line)
            print(number, line)
    return len(lines)


async def main():
    for http2 in (False, True):
        async with httpx.AsyncClient(http2=http2) as client:
            print(await asyncio.gather(*(one(client, n) for n in range(5))))


asyncio.run(main())
print("done")
