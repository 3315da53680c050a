"""A WebSocket server and its client in one process; both tell what they got."""
import asyncio, json
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

TEXTS = ["hello", "again and again " * 300, "", "\u00e9\u4e16", "again and again " * 300]


def tell(who, message):
    kind = "text" if isinstance(message, str) else "binary"
    data = message.encode() if isinstance(message, str) else message
    print(json.dumps([who, kind, data.hex()]), flush=True)


async def answer(socket):
    async for message in socket:
        tell("server", message)
        if isinstance(message, str):
            # In three fragments.
            cut = len(message) // 3
            await socket.send([message[:cut], message[cut : 2 * cut], message[2 * cut :]])
        else:
            await socket.send(message)


async def main():
    for compression in ("deflate", None):
        async with serve(answer, "127.0.0.1", 0, compression=compression) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/echo", compression=compression) as client:
                for text in TEXTS:
                    await client.send(text)
                    tell("client", await client.recv())
                await client.send(bytes(range(256)) * 300)
                tell("client", await client.recv())
                await (await client.ping(b"there?"))


asyncio.run(main())
