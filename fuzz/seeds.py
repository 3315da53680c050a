"""Writes what the fuzz targets begin with: seeds.py CORPUS. Needs the packages of the tests."""
import json, os, struct, sys, zlib

import h2.config, h2.connection, h2.events
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

root = sys.argv[1]


def seed(target, name, data):
    os.makedirs(f"{root}/{target}", exist_ok=True)
    with open(f"{root}/{target}/seed-{name}", "wb") as file:
        file.write(data)


def conversation(piece, *parts):
    out = bytes([piece])
    for received, data in parts:
        for at in range(0, len(data), 0x7000):
            part = data[at : at + 0x7000]
            out += struct.pack("<H", len(part) | (0x8000 if received else 0)) + part
    return out


STREAM = b"".join(b"data: %s\n\n" % json.dumps(
    {"choices": [{"index": 0, "delta": {"content": text}}]}).encode() for text in ("a", "b"))
STREAM += b"data: [DONE]\n\n"


def http1():
    ask = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n"
    ask += b'{"model":"m","stream":true,"x": [] }'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (STREAM[:30], STREAM[30:]))
    answers = {
        "length": head + b"Content-Length: %d\r\n\r\n" % len(STREAM) + STREAM,
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\nT: v\r\n\r\n",
        "close": head + b"\r\n" + STREAM,
    }
    packed = zlib.compressobj(wbits=31)
    packed = packed.compress(STREAM) + packed.flush()
    answers["gzip"] = (
        head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
    for name, answer in answers.items():
        seed("http1", name, conversation(7, (False, ask), (True, answer)))
    pipelined = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nPUT /3 HTTP/1.1\r\n"
    pipelined += b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    seed("http1", "pipelined", conversation(
        3, (False, pipelined), (True, answer + b"HTTP/1.1 100 Continue\r\n\r\n"),
        (False, b"3;x=y\r\nabc\r\n0\r\n\r\n"), (True, answers["length"])))
    connect = b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n"
    seed("http1", "connect", conversation(
        9, (False, connect), (True, b"HTTP/1.1 200 OK\r\n\r\n"), (False, ask),
        (True, answers["close"])))


def http2():
    sides = [h2.connection.H2Connection(h2.config.H2Configuration(client_side=side))
             for side in (True, False)]
    client, server = sides
    parts = []

    def pass_on(to_server):
        data = (client if to_server else server).data_to_send()
        if data:
            parts.append((not to_server, data))
            (server if to_server else client).receive_data(data)

    client.initiate_connection()
    server.initiate_connection()
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "a"),
            (":path", "/v1/chat/completions"), ("content-type", "application/json")]
    for stream in (1, 3, 5):
        client.send_headers(stream, head)
        client.send_data(stream, b'{"model":"m","stream":true}', end_stream=True)
    pass_on(True)
    for stream in (3, 1, 5):
        server.send_headers(stream, [(":status", "200"), ("content-type", "text/event-stream")])
    for at in range(0, len(STREAM), 20):
        for stream in (1, 3):
            server.send_data(stream, STREAM[at : at + 20])
        pass_on(False)
    server.send_headers(1, [("t", "v")], end_stream=True)
    server.end_stream(3)
    server.reset_stream(5)
    pass_on(False)
    client.close_connection()
    pass_on(True)
    # The target says the preface itself.
    parts[0] = (False, parts[0][1][24:])
    seed("http2", "streams", conversation(11, *parts))


def websocket():
    create = json.dumps({"type": "response.create", "model": "m", "input": "x"}).encode()
    events = [json.dumps(event).encode() for event in RESPONSES]
    for piece in (6, 7):
        packers = [[PerMessageDeflate(piece % 2 == 0, False, 15, 15)] if piece % 2 else []
                   for _ in range(2)]
        frame = lambda data, side, **more: Frame(Opcode.TEXT, data).serialize(
            mask=side == 0, extensions=packers[side])
        parts = [(False, frame(create, 0))]
        parts += [(True, frame(event, 1)) for event in events]
        parts += [(True, Frame(Opcode.PING, b"x").serialize(mask=False)),
                  (False, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))]
        seed("websocket", str(piece), conversation(piece, *parts))


RESPONSES = [
    {"type": "response.created", "sequence_number": 0, "response": {"id": "r", "model": "m"}},
    {"type": "response.output_item.added", "output_index": 0,
     "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"},
    {"type": "response.reasoning_summary_text.delta", "output_index": 1, "delta": "hm"},
    {"type": "response.output_text.delta", "output_index": 2, "delta": "gr\u00fcn"},
    {"type": "response.completed", "response": {"id": "r", "model": "m", "status": "completed",
     "output": [], "usage": {"input_tokens": 9, "output_tokens": 2,
                             "input_tokens_details": {"cached_tokens": 4}}}},
]

CHAT = [
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {
        "role": "assistant", "content": "gr\u00fcn", "reasoning_content": "hm"}}]},
    {"choices": [{"index": 1, "delta": {"tool_calls": [
        {"index": 0, "id": "t", "type": "function",
         "function": {"name": "f", "arguments": "{\"a\":"}}]}}]},
    {"choices": [{"index": 1, "delta": {"tool_calls": [
        {"index": 0, "function": {"arguments": "1}"}}]}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3,
                              "prompt_tokens_details": {"cached_tokens": 4}}},
    {"error": {"type": "server_error", "message": "no"}},
]

MESSAGES = [
    {"type": "message_start", "message": {"id": "m", "model": "c", "role": "assistant",
     "content": [], "usage": {"input_tokens": 5, "cache_read_input_tokens": 4}}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "signature_delta", "signature": "x"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1,
     "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 1,
     "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"},
     "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
    {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
]

GEMINI = [
    {"candidates": [{"content": {"role": "model", "parts": [
        {"text": "hm", "thought": True}, {"text": "gr\u00fcn"},
        {"functionCall": {"name": "f", "args": {"a": 1}}}]}, "index": 0}]},
    {"candidates": [{"finishReason": "STOP", "index": 0}], "modelVersion": "g", "responseId": "r",
     "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2,
                       "thoughtsTokenCount": 1, "cachedContentTokenCount": 4}},
]

OLLAMA = [
    {"model": "l", "message": {"role": "assistant", "content": "a", "thinking": "hm"},
     "done": False},
    {"model": "l", "message": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
     "done": False},
    {"model": "l", "response": "b", "done": False},
    {"model": "l", "done": True, "done_reason": "stop", "prompt_eval_count": 9,
     "eval_count": 2, "total_duration": 5},
    {"error": "no"},
]

BEDROCK = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {
        "toolUseId": "t", "name": "f"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "gr\u00fcn"}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {
        "reasoningContent": {"text": "hm"}}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": {"inputTokens": 9, "outputTokens": 2}, "metrics": {"latencyMs": 5}}),
]


def event_stream(events, kind="event"):
    out = b""
    for name, payload in events:
        payload = json.dumps(payload).encode()
        headers = b""
        for key, value in ((f":{kind}-type", name), (":content-type", "application/json"),
                           (":message-type", kind)):
            headers += bytes([len(key)]) + key.encode() + b"\x07"
            headers += struct.pack(">H", len(value)) + value.encode()
        head = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
        head += struct.pack(">I", zlib.crc32(head))
        message = head + headers + payload
        out += message + struct.pack(">I", zlib.crc32(message))
    return out


def sse(events, named=False, end="\n"):
    out = f": comment{end}{end}"
    for event in events:
        name = f"event: {event['type']}{end}" if named else ""
        out += f"{name}id: 1{end}data: {json.dumps(event)}{end}{end}"
    return out.encode()


def dialects():
    lines = lambda events: "".join(json.dumps(event) + "\n" for event in events).encode()
    seed("sse", "unknown", b"\0\x05\x03" + sse(CHAT, end="\r\n") + b"data: x\rdata: y\r\r")
    for number in (0, 2):
        seed("openai_chat", f"stream{number}",
             bytes([number, 7, 9]) + sse(CHAT) + b"data: [DONE]\n\n")
    whole = {"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
             "message": {"role": "assistant", "content": "a", "tool_calls": [
                 {"id": "t", "function": {"name": "f", "arguments": "{}"}}]}}],
             "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    seed("openai_chat", "whole", b"\x01\x07\x09" + json.dumps(whole).encode())
    seed("openai_responses", "stream", b"\0\x07\x09" + sse(RESPONSES, named=True))
    whole = {"id": "r", "model": "m", "status": "completed", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}],
        "usage": {"input_tokens": 9, "output_tokens": 2}}
    seed("openai_responses", "whole", b"\x01\x07\x09" + json.dumps(whole).encode())
    seed("anthropic", "stream", b"\0\x07\x09" + sse(MESSAGES, named=True))
    whole = {"id": "m", "model": "c", "type": "message", "role": "assistant",
             "stop_reason": "end_turn", "content": [
                 {"type": "text", "text": "a"}, {"type": "thinking", "thinking": "hm"},
                 {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
             "usage": {"input_tokens": 5, "output_tokens": 2}}
    seed("anthropic", "whole", b"\x01\x07\x09" + json.dumps(whole).encode())
    seed("gemini", "stream", b"\0\x07\x09" + sse(GEMINI, end="\r\n"))
    seed("gemini", "array", b"\x01\x07\x09" + json.dumps(GEMINI, indent=1).encode())
    seed("gemini", "whole", b"\x02\x07\x09" + json.dumps(GEMINI[0]).encode())
    for number in (0, 1):
        seed("ollama", f"stream{number}", bytes([number, 7, 9]) + lines(OLLAMA))
    seed("ollama", "whole", b"\x02\x07\x09" + json.dumps({**OLLAMA[0], **OLLAMA[3]}).encode())
    seed("bedrock", "stream", b"\0\x07\x09" + event_stream(BEDROCK))
    failed = [("throttlingException", {"message": "no"})]
    seed("bedrock", "exception", b"\0\x07\x09" + event_stream(failed, "exception"))
    whole = {"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
             "stopReason": "end_turn", "usage": {"inputTokens": 9, "outputTokens": 2}}
    seed("bedrock", "whole", b"\x02\x07\x09" + json.dumps(whole).encode())


http1()
http2()
websocket()
dialects()
