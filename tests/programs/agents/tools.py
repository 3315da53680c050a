"""A tool for llm."""
import subprocess


def shell(command: str) -> str:
    "Run a shell command"
    return subprocess.run(command, shell=True, capture_output=True, text=True).stdout
