// The Vercel AI SDK (`ai`): `@ai-sdk/openai-compatible` over chat completions, `@ai-sdk/openai` over the Responses API, which is its default.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import * as report from "./report.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const compatible = (apiKey) =>
  createOpenAICompatible({ name: "breakeven", baseURL: report.BASE_URL, apiKey, supportsStructuredOutputs: true, includeUsage: true });
const gateway = compatible(report.API_KEY);
const chat = gateway(report.MODEL);
const responses = createOpenAI({ baseURL: report.BASE_URL, apiKey: report.API_KEY })(report.MODEL);
const settings = { maxOutputTokens: report.MAX_TOKENS, temperature: 0 };
const Verdict = z.object({ label: z.enum(["yes", "no"]), urgent: z.boolean() });

// A broken stream comes as a part of type `error`, and to `onError`: the iteration over texts alone would just end.
async function* streamed(model, prompt) {
  const result = streamText({ model, prompt, ...settings, maxRetries: 0, onError: () => {} });
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") yield part.text;
  }
}

async function whole(model) {
  const answer = await generateText({ model, prompt: report.QUESTION, ...settings });
  return { text: answer.text, tokens: answer.usage.totalTokens };
}

async function toolRound() {
  const called = [];
  const get_weather = tool({
    description: "The weather.",
    inputSchema: z.object({ city: z.enum(report.CITIES) }),
    execute: async (input) => {
      called.push("get_weather");
      return report.weather(input);
    },
  });
  const insist = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? { type: "tool", toolName: "get_weather" } : "none" });
  const wanted = { tools: { get_weather }, prepareStep: insist, stopWhen: stepCountIs(3), temperature: 0, maxOutputTokens: 60 };
  const answer = await generateText({ model: chat, prompt: report.TOOL_QUESTION, ...wanted });
  return { called, text: answer.text };
}

await report.printReport("ai", {
  chat: () => whole(chat),
  stream: () => report.pieces(streamed(chat, report.QUESTION)),
  tools: toolRound,
  structured: async () => (await generateText({ model: chat, prompt: report.QUESTION, output: Output.object({ schema: Verdict }), temperature: 0 })).output,
  broken_stream: () => report.pieces(streamed(chat, report.BROKEN)),
  responses: () => whole(responses),
  responses_stream: () => report.pieces(streamed(responses, report.QUESTION)),
  responses_broken_stream: () => report.pieces(streamed(responses, report.BROKEN)),
  embeddings: async () => ({ size: (await embed({ model: gateway.embeddingModel(report.EMBEDDINGS), value: report.QUESTION })).embedding.length }),
  bad_key: () => report.refused(() => generateText({ model: compatible(report.BAD_KEY)(report.MODEL), prompt: report.QUESTION, maxRetries: 0 })),
  unknown_model: () => report.refused(() => generateText({ model: gateway(report.NO_MODEL), prompt: report.QUESTION, maxRetries: 0 })),
});
