"""Several HTTP clients against one server; each answer is told as a line of JSON."""
import asyncio, hashlib, json, sys, urllib.request
import aiohttp, httpx, requests

base = sys.argv[1]


def tell(client, method, target, status, body):
    digest = hashlib.sha256(body).hexdigest()
    print(json.dumps([client, method, target, status, len(body), digest]), flush=True)


def url(client, path):
    return f"{base}{path}{'&' if '?' in path else '?'}client={client}"


def target(client, path):
    return url(client, path)[len(base):]


PATHS = ["/", "/stream?n=5&ms=2", "/none"]

for path in PATHS:
    try:
        with urllib.request.urlopen(url("urllib", path)) as answer:
            tell("urllib", "GET", target("urllib", path), answer.status, answer.read())
    except urllib.error.HTTPError as e:
        tell("urllib", "GET", target("urllib", path), e.code, e.read())

with requests.Session() as session:
    for path in PATHS:
        answer = session.get(url("requests", path))
        tell("requests", "GET", target("requests", path), answer.status_code, answer.content)
    parts = iter([b"one", b"two" * 1000, b"three"])
    answer = session.post(url("requests", "/upload"), data=parts)
    tell("requests", "POST", target("requests", "/upload"), answer.status_code, answer.content)

for http2 in (False, True):
    name = "httpx2" if http2 else "httpx"
    with httpx.Client(http2=http2, http1=not http2) as client:
        for path in PATHS:
            answer = client.get(url(name, path))
            tell(name, "GET", target(name, path), answer.status_code, answer.content)
        answer = client.post(url(name, "/upload"), content=b"x" * 100000)
        tell(name, "POST", target(name, "/upload"), answer.status_code, answer.content)


async def main():
    async with httpx.AsyncClient(http2=True, http1=False) as client:

        async def one(number):
            path = f"/stream?n=6&ms=2&number={number}"
            answer = await client.get(url("async", path))
            tell("async", "GET", target("async", path), answer.status_code, answer.content)

        await asyncio.gather(*(one(number) for number in range(5)))
    if len(sys.argv) > 2:
        return
    async with aiohttp.ClientSession() as session:
        for path in PATHS:
            async with session.get(url("aiohttp", path)) as answer:
                body = await answer.read()
                tell("aiohttp", "GET", target("aiohttp", path), answer.status, body)


asyncio.run(main())
