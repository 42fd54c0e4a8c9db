"""Each client does the same small task at the gateway in argv[1], with the key in argv[2]: a
streamed answer, a tool loop, structured output where it has it. One JSON row each.

Runs in .venv-clients.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

URL, KEY = sys.argv[1], sys.argv[2]
BASE = f"{URL}/v1"
QUESTION = "How warm is it in Oslo?"
ANSWER = "It is 3 C in Oslo."
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}


class City(BaseModel):
    city: str


def weather(city: str) -> str:
    """Current weather of a city."""
    return "3 C" if city == "Oslo" else "unknown"


def check(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{found!r} is not {expected!r}")


def openai_python() -> list[str]:
    from openai import AsyncOpenAI, OpenAI

    with OpenAI(base_url=BASE, api_key=KEY) as client:
        messages: Any = [{"role": "user", "content": QUESTION}]
        with client.chat.completions.stream(model="p2l", messages=messages, tools=[TOOL]) as stream:
            for _ in stream:
                pass
            call: Any = stream.get_final_completion().choices[0].message.tool_calls[0]
        check(json.loads(call.function.arguments), {"city": "Oslo"})
        said = {"id": call.id, "type": "function",
                "function": {"name": "weather", "arguments": call.function.arguments}}  # fmt: skip
        messages.append({"role": "assistant", "content": None, "tool_calls": [said]})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": weather("Oslo")})
        done = client.chat.completions.create(model="p2l", messages=messages, tools=[TOOL])
        check(done.choices[0].message.content, ANSWER)
        hello: Any = [{"role": "user", "content": "A city"}]
        parsed = client.chat.completions.parse(model="p2l", messages=hello, response_format=City)
        check(parsed.choices[0].message.parsed, City(city="Oslo"))
        response = client.responses.create(model="p2l", input="Hello")
        check(response.output_text, "Hello there.")
        structured = client.responses.parse(model="p2l", input="A city", text_format=City)
        check(structured.output_parsed, City(city="Oslo"))

    async def asynchronous() -> str:
        async with AsyncOpenAI(base_url=BASE, api_key=KEY) as client:
            hello: Any = [{"role": "user", "content": "Hello"}]
            stream = await client.chat.completions.create(model="p2l", messages=hello, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    check(asyncio.run(asynchronous()), "Hello there.")
    return ["sync", "async", "stream", "parse", "tools", "responses"]


def langchain() -> list[str]:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="p2l", base_url=BASE, api_key=KEY)
    check("".join(str(chunk.content) for chunk in model.stream("Hello")), "Hello there.")
    with_tools = model.bind_tools([tool(weather)])
    messages: Any = [HumanMessage(QUESTION)]
    called: Any = with_tools.invoke(messages)
    call = called.tool_calls[0]
    messages += [called, ToolMessage(weather(**call["args"]), tool_call_id=call["id"])]
    check(with_tools.invoke(messages).content, ANSWER)
    check(model.with_structured_output(City).invoke("A city"), City(city="Oslo"))
    return ["stream", "tools", "structured output"]


def llama_index() -> list[str]:
    from llama_index.core.llms import ChatMessage
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai_like import OpenAILike

    model = OpenAILike(
        model="p2l", api_base=BASE, api_key=KEY, is_chat_model=True, is_function_calling_model=True
    )
    hello = [ChatMessage(role="user", content="Hello")]
    check("".join(str(chunk.delta) for chunk in model.stream_chat(hello)), "Hello there.")
    answer = model.predict_and_call([FunctionTool.from_defaults(weather)], QUESTION)
    check(str(answer), "3 C")
    return ["stream", "tools"]


def pydantic_ai() -> list[str]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("p2l", provider=OpenAIProvider(base_url=BASE, api_key=KEY))
    agent = Agent(model, tools=[weather])
    check(agent.run_sync(QUESTION).output, ANSWER)

    async def streamed() -> str:
        async with Agent(model).run_stream("Hello") as result:
            return [text async for text in result.stream_text()][-1]

    check(asyncio.run(streamed()), "Hello there.")
    return ["stream", "tools"]


def instructor_client() -> list[str]:
    import instructor
    from openai import OpenAI

    mode = instructor.Mode.JSON_SCHEMA
    client = instructor.from_openai(OpenAI(base_url=BASE, api_key=KEY), mode=mode)
    messages: Any = [{"role": "user", "content": "A city"}]
    whole = client.create(model="p2l", messages=messages, response_model=City)
    check(whole.city, "Oslo")
    partial = list(client.create_partial(model="p2l", messages=messages, response_model=City))
    check(partial[-1].city, "Oslo")
    return ["stream", "structured output"]


def litellm_client() -> list[str]:
    import litellm

    asked: Any = {"model": "openai/p2l", "api_base": BASE, "api_key": KEY}
    messages: Any = [{"role": "user", "content": QUESTION}]
    chunks = list(litellm.completion(**asked, messages=messages, tools=[TOOL], stream=True))
    built: Any = litellm.stream_chunk_builder(chunks, messages=messages)
    call = built.choices[0].message.tool_calls[0]
    check(json.loads(call.function.arguments), {"city": "Oslo"})
    messages += [built.choices[0].message.model_dump()]
    messages += [{"role": "tool", "tool_call_id": call.id, "content": weather("Oslo")}]
    done: Any = litellm.completion(**asked, messages=messages, tools=[TOOL])
    check(done.choices[0].message.content, ANSWER)
    return ["stream", "tools"]


def anthropic_python() -> list[str]:
    from anthropic import Anthropic

    with Anthropic(base_url=URL, api_key=KEY) as client:
        tools: Any = [{"name": "weather", "input_schema": PARAMETERS}]
        messages: Any = [{"role": "user", "content": QUESTION}]
        asked: Any = {"model": "p2l", "max_tokens": 99, "tools": tools}
        with client.messages.stream(messages=messages, **asked) as stream:
            final = stream.get_final_message()
        call: Any = final.content[0]
        check(call.input, {"city": "Oslo"})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": weather("Oslo")}
        messages += [{"role": "assistant", "content": final.content}]
        messages += [{"role": "user", "content": [result]}]
        done: Any = client.messages.create(messages=messages, **asked)
        check(done.content[0].text, ANSWER)
    return ["stream", "tools"]


CLIENTS: list[tuple[str, str, Callable[[], list[str]]]] = [
    ("openai-python", "openai", openai_python),
    ("LangChain", "langchain-openai", langchain),
    ("LlamaIndex", "llama-index-llms-openai-like", llama_index),
    ("pydantic-ai", "pydantic-ai-slim", pydantic_ai),
    ("instructor", "instructor", instructor_client),
    ("LiteLLM", "litellm", litellm_client),
    ("Anthropic SDK (Python)", "anthropic", anthropic_python),
]


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    for client, package, task in CLIENTS:
        row: dict[str, Any] = {"client": client, "version": importlib.metadata.version(package)}
        try:
            row["did"] = task()
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"[:400]
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
