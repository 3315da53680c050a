"""smolagents: an agent that writes code, and one that calls a tool."""
import os
import subprocess

from smolagents import CodeAgent, OpenAIServerModel, ToolCallingAgent, tool


@tool
def shell(command: str) -> str:
    """Run a shell command.

    Args:
        command: the command
    """
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True).stdout


model = OpenAIServerModel(
    model_id="gpt-4o", api_base=os.environ["OPENAI_BASE_URL"], api_key="sk-mock")
imports = ["random", "time"]
code = CodeAgent(tools=[shell], model=model, additional_authorized_imports=imports, max_steps=4)
print(code.run("What time is it?"))
print(ToolCallingAgent(tools=[shell], model=model, max_steps=4).run("What time is it?"))
