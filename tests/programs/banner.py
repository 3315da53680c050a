# Says what a server on this address says that speaks first; `serve` is that server.
import socket, sys

at = (sys.argv[1], 2525)
if sys.argv[2:] == ["serve"]:
    server = socket.create_server(at)
    print("ready", flush=True)
    server.accept()[0].sendall(b"220 hello\r\n")
else:
    print(socket.create_connection(at, timeout=20).recv(100))
