"""openai-agents: a function tool that runs subprocesses, two of them at once."""
import asyncio

from agents import Agent, Runner, function_tool, set_tracing_disabled


@function_tool
async def shell(command: str) -> str:
    "Run a shell command"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(command, stdout=pipe)
    return (await process.communicate())[0].decode()


async def main():
    agent = Agent(name="A", instructions="You run commands", tools=[shell], model="gpt-4o")
    print((await Runner.run(agent, "What time is it?")).final_output)


set_tracing_disabled(True)
asyncio.run(main())
