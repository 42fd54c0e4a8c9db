// Each client does the same small task at the gateway in argv[2]: a streamed answer and a tool loop.
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { readFileSync } from "node:fs";
import { z } from "zod";

const url = process.argv[2];
const apiKey = process.argv[3];
const QUESTION = "How warm is it in Oslo?";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

function version(name) {
  const path = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(path)).version;
}

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

async function openaiNode() {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
  const messages = [{ role: "user", content: QUESTION }];
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const stream = client.chat.completions.stream({ model: "p2l", messages, tools });
  const call = (await stream.finalMessage()).tool_calls[0];
  expect(JSON.parse(call.function.arguments).city === "Oslo", "the call's arguments");
  messages.push({ role: "assistant", tool_calls: [call] });
  messages.push({ role: "tool", tool_call_id: call.id, content: "3 C" });
  const answer = await client.chat.completions.create({ model: "p2l", messages, tools });
  expect(answer.choices[0].message.content === "It is 3 C in Oslo.", "the answer");
  expect(answer.usage.cost > 0, "the cost");
  const response = client.responses.stream({ model: "p2l", input: "Hello" });
  expect((await response.finalResponse()).output_text === "Hello there.", "the response");
  return ["stream", "tools", "responses"];
}

async function anthropicNode() {
  const client = new Anthropic({ baseURL: url, apiKey });
  const stream = client.messages.stream({
    model: "p2l",
    max_tokens: 99,
    messages: [{ role: "user", content: QUESTION }],
    tools: [{ name: "weather", input_schema: parameters }],
  });
  const message = await stream.finalMessage();
  expect(message.content[0].input.city === "Oslo", "the call's arguments");
  return ["stream", "tools"];
}

async function vercel() {
  const provider = createOpenAICompatible({ name: "p2l", baseURL: `${url}/v1`, apiKey });
  const model = provider("p2l");
  const weather = tool({
    description: "Current weather",
    inputSchema: z.object({ city: z.string() }),
    execute: async () => "3 C",
  });
  const { text } = await generateText({
    model,
    prompt: QUESTION,
    tools: { weather },
    stopWhen: stepCountIs(3),
  });
  expect(text === "It is 3 C in Oslo.", `the answer: ${text}`);
  let streamed = "";
  for await (const piece of streamText({ model, prompt: "Hello" }).textStream) streamed += piece;
  expect(streamed === "Hello there.", `the stream: ${streamed}`);
  return ["stream", "tools"];
}

const clients = [
  ["openai-node", "openai", openaiNode],
  ["Anthropic SDK (TypeScript)", "@anthropic-ai/sdk", anthropicNode],
  ["Vercel AI SDK", "ai", vercel],
];
for (const [client, name, task] of clients) {
  const row = { client, version: version(name) };
  try {
    row.did = await task();
  } catch (error) {
    row.error = String(error).slice(0, 400);
  }
  console.log(JSON.stringify(row));
}
