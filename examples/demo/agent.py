"""A small agent: it asks a model, runs the tool that the model calls, and asks again.

Only Python's own library. OPENAI_BASE_URL says where the model is; AGENT_STYLE changes the prompt.
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import urllib.request
import uuid

BASE = os.environ["OPENAI_BASE_URL"]
STYLE = os.environ.get("AGENT_STYLE", "in one sentence")
TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The weather of the next days",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}}}}}


def ask(messages, tools=()):
    """Streams one answer to stdout; its text, and the tool call in it."""
    body = {"model": "gpt-demo", "messages": messages, "stream": True}
    if tools:
        body["tools"] = list(tools)
    request = urllib.request.Request(
        f"{BASE}/chat/completions", json.dumps(body).encode(),
        {"content-type": "application/json",
         "authorization": "Bearer " + os.environ.get("OPENAI_API_KEY", "none")})
    text, call = "", None
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            delta = json.loads(line[6:])["choices"][0]["delta"]
            text += delta.get("content") or ""
            print(delta.get("content") or "", end="", flush=True)
            for part in delta.get("tool_calls", []):
                call = call or {"id": part["id"], "type": "function",
                                "function": {"name": "", "arguments": ""}}
                for key, value in part["function"].items():
                    call["function"][key] += value
    if text:
        print()
    return text, call


def weather(city, days):
    """The tool: a subprocess, so that there is something to run."""
    lot = subprocess.run(["cksum"], input=city.encode(), capture_output=True, check=True).stdout
    return f"{days} days of {['sun', 'rain', 'snow', 'fog'][int(lot.split()[0]) % 4]}"


today = datetime.date.today()
messages = [
    {"role": "system", "content": f"Run {uuid.uuid4()}. Today is {today}. Answer {STYLE}."},
    {"role": "user", "content": "What should I pack?"},
]
_, call = ask(messages, [TOOL])
arguments = json.loads(call["function"]["arguments"])
forecast = weather(arguments["city"], arguments["days"])
print(f"[tool] weather({arguments['city']!r}) = {forecast}")
messages += [
    {"role": "assistant", "tool_calls": [call]},
    {"role": "tool", "tool_call_id": call["id"], "content": forecast},
]
answer, _ = ask(messages)
out = pathlib.Path("out")
out.mkdir(exist_ok=True)
(out / "answer.txt").write_text(answer + "\n")
try:
    pathlib.Path("notes.txt").write_text(answer)
except PermissionError as e:
    print(f"[policy] {e}", file=sys.stderr)
