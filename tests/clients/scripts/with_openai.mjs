// `openai`, the official client for Node.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as report from "./report.mjs";

const client = new OpenAI({ baseURL: report.BASE_URL, apiKey: report.API_KEY });
const stranger = new OpenAI({ baseURL: report.BASE_URL, apiKey: report.BAD_KEY });
const settings = { model: report.MODEL, max_tokens: report.MAX_TOKENS, temperature: 0 };
const response = { model: report.MODEL, max_output_tokens: report.MAX_TOKENS, temperature: 0 };
const says = (text) => [{ role: "user", content: text }];
const Verdict = z.object({ label: z.enum(["yes", "no"]), urgent: z.boolean() });
const parameters = { type: "object", properties: { city: { type: "string", enum: report.CITIES } }, required: ["city"], additionalProperties: false };
const tools = [{ type: "function", function: { name: "get_weather", description: "The weather.", parameters } }];

async function* streamed(question) {
  for await (const chunk of await client.chat.completions.create({ ...settings, messages: says(question), stream: true })) yield chunk.choices[0]?.delta?.content;
}

async function* responsesStreamed(question) {
  for await (const event of await client.responses.create({ ...response, input: question, stream: true }))
    if (event.type === "response.output_text.delta") yield event.delta;
}

async function toolRound() {
  const messages = says(report.TOOL_QUESTION);
  const tool_choice = { type: "function", function: { name: "get_weather" } };
  const asked = (await client.chat.completions.create({ model: report.MODEL, temperature: 0, messages, tools, tool_choice })).choices[0].message;
  const call = asked.tool_calls[0];
  messages.push(asked, { role: "tool", tool_call_id: call.id, content: report.weather(JSON.parse(call.function.arguments)) });
  const answer = await client.chat.completions.create({ ...settings, messages, tools });
  return { called: [call.function.name], text: answer.choices[0].message.content };
}

await report.printReport("openai", {
  chat: async () => {
    const answer = await client.chat.completions.create({ ...settings, messages: says(report.QUESTION) });
    return { text: answer.choices[0].message.content, tokens: answer.usage.total_tokens };
  },
  stream: () => report.pieces(streamed(report.QUESTION)),
  tools: toolRound,
  structured: async () => {
    const response_format = zodResponseFormat(Verdict, "verdict");
    const answer = await client.chat.completions.parse({ model: report.MODEL, temperature: 0, messages: says(report.QUESTION), response_format });
    return answer.choices[0].message.parsed;
  },
  broken_stream: () => report.pieces(streamed(report.BROKEN)),
  responses: async () => ({ text: (await client.responses.create({ ...response, input: report.QUESTION })).output_text }),
  responses_stream: () => report.pieces(responsesStreamed(report.QUESTION)),
  responses_broken_stream: () => report.pieces(responsesStreamed(report.BROKEN)),
  embeddings: async () => ({ size: (await client.embeddings.create({ model: report.EMBEDDINGS, input: report.QUESTION })).data[0].embedding.length }),
  bad_key: () => report.refused(() => stranger.chat.completions.create({ ...settings, messages: says(report.QUESTION) })),
  unknown_model: () => report.refused(() => client.chat.completions.create({ messages: says(report.QUESTION), model: report.NO_MODEL })),
});
