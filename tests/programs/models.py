"""The openai and anthropic packages: streams, tool calls, sync and async."""
import asyncio, sys
import anthropic, openai

secure, plain = sys.argv[1:3]
messages = [{"role": "user", "content": "hello"}]
schema = {"type": "object", "properties": {}}
function = {"name": "weather", "description": "d", "parameters": schema}
tool = {"name": "weather", "description": "d", "input_schema": schema}

for base in (secure, plain):
    client = openai.OpenAI(base_url=f"{base}/v1", api_key="sk-test")
    print(client.chat.completions.create(model="m", messages=messages))
    stream = client.chat.completions.create(
        model="m", messages=messages, stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        print(chunk.choices and chunk.choices[0].delta.content, chunk.usage, flush=True)
    stream = client.chat.completions.create(
        model="m", messages=messages, stream=True,
        tools=[{"type": "function", "function": function}])
    for chunk in stream:
        print(chunk.choices[0].delta.tool_calls)
    for event in client.responses.create(model="m", input="hello", stream=True):
        print(event.type, getattr(event, "delta", ""))
    client = anthropic.Anthropic(base_url=base, api_key="test")
    print(client.messages.create(model="m", max_tokens=9, messages=messages))
    with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
        print(stream.get_final_message())
    with client.messages.stream(model="m", max_tokens=9, messages=messages, tools=[tool]) as stream:
        for event in stream:
            print(event.type)
        print(stream.get_final_message().content)


async def chat(client, number):
    stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
    async for chunk in stream:
        print(number, chunk.id, chunk.choices[0].delta.content)


async def main():
    async with openai.AsyncOpenAI(base_url=f"{secure}/v1", api_key="sk-test") as client:
        await asyncio.gather(*(chat(client, n) for n in range(4)))
    async with anthropic.AsyncAnthropic(base_url=secure, api_key="test") as client:
        async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            async for text in stream.text_stream:
                print(text, end="")
        print(await stream.get_final_message())


asyncio.run(main())
print("done")
