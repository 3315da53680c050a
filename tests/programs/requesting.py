"""urllib and requests, plain and over TLS."""
import json, sys, time, urllib.error, urllib.request
import requests

secure, plain = sys.argv[1:3]
for base in (plain, secure):
    with urllib.request.urlopen(f"{base}/stream?n=10&ms=2") as answer:
        print(answer.status, dict(answer.headers))
        for line in answer:
            print(time.time(), line)
    try:
        urllib.request.urlopen(f"{base}/missing")
    except urllib.error.HTTPError as error:
        print(error, error.headers["x-request-id"])
    session = requests.Session()
    for _ in range(3):
        answer = session.get(base)
        print(answer.status_code, answer.headers, answer.text, answer.elapsed)
    with session.get(f"{base}/stream?n=10&ms=2", stream=True) as answer:
        for line in answer.iter_lines():
            print(line)
    print(session.post(f"{base}/upload", data=b"x" * 100_000).text)
    body = {"model": "m", "stream": True}
    with session.post(f"{base}/v1/messages", json=body, stream=True) as answer:
        for line in answer.iter_lines():
            print(line.decode())
try:
    requests.get("http://127.0.0.1:1/")
except requests.ConnectionError as error:
    print(type(error), error)
print("done")
