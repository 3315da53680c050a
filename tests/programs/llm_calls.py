"""Calls of the openai and anthropic packages: streams, tools, reasoning, gzip, errors, cuts."""
import asyncio, sys
import anthropic, openai

base = sys.argv[1]
http2 = "http2" in sys.argv
versions = {"http1": not http2, "http2": http2}
messages = [{"role": "user", "content": "hello gr\u00fcn"}]
schema = {"type": "object", "properties": {}}
function = {"name": "weather", "description": "d", "parameters": schema}
chat_tool = {"type": "function", "function": function}
response_tool = {"type": "function", "strict": False, **function}
tool = {"name": "weather", "description": "d", "input_schema": schema}
http = openai.DefaultHttpxClient(**versions)
chat = openai.OpenAI(base_url=f"{base}/v1", api_key="sk-test", max_retries=0, http_client=http)
http = anthropic.DefaultHttpxClient(**versions)
claude = anthropic.Anthropic(base_url=base, api_key="test", max_retries=0, http_client=http)


def attempt(what):
    try:
        what()
    except Exception as e:
        print(type(e).__name__)


def complete(model, **more):
    usage = {"include_usage": True}
    for chunk in chat.chat.completions.create(
            model=model, messages=messages, stream=True, stream_options=usage, **more):
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


def respond(model, **more):
    for event in chat.responses.create(model=model, input="hello", stream=True, **more):
        print(event.type)


def message(model, **more):
    with claude.messages.stream(model=model, max_tokens=9, messages=messages, **more) as stream:
        for event in stream:
            print(event.type)


for model in ("m", "m-reason", "m-gzip", "m-brotli", "m-zstd", "m-error", "m-cut"):
    attempt(lambda: complete(model))
    attempt(lambda: respond(model))
    attempt(lambda: message(model))
complete("m", tools=[chat_tool])
respond("m", tools=[response_tool])
message("m", tools=[tool])
print(chat.chat.completions.create(model="m-reason", messages=messages))
print(chat.responses.create(model="m", input="hello", tools=[response_tool]).output)
print(claude.messages.create(model="m-gzip", max_tokens=9, messages=messages))


async def main():
    http = openai.DefaultAsyncHttpxClient(**versions)
    client = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="sk-test", http_client=http)

    async def one(number):
        stream = await client.chat.completions.create(
            model=f"m{number}", messages=messages, stream=True)
        async for chunk in stream:
            print(number, chunk.choices[0].delta.content)

    await asyncio.gather(*(one(n) for n in range(4)))
    client = anthropic.AsyncAnthropic(base_url=base, api_key="test")
    async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
        async for text in stream.text_stream:
            print(text, end="")


asyncio.run(main())
print("done")
