// What every Node client's script does around its own calls: read where the gateway is, run the checks, print one JSON document.
// A check returns what it saw. One that fails is reported with its error: a script itself never fails.

import { readFileSync } from "node:fs";

const env = process.env;
export const BASE_URL = env.CLIENT_BASE_URL;
export const API_KEY = env.CLIENT_API_KEY;
export const MODEL = env.CLIENT_MODEL;
export const EMBEDDINGS = env.CLIENT_EMBEDDINGS;
export const QUESTION = "Where is it?";
export const BROKEN = "Break off. Now.";
export const TOOL_QUESTION = "Use get_weather.";
export const MAX_TOKENS = 24;
export const NO_MODEL = "no/such-model";
export const BAD_KEY = "bk-wrong";
export const CITIES = ["Paris", "Rome"];

export function told(error) {
  const seen = { raised: error?.constructor?.name ?? typeof error, message: String(error?.message ?? error).slice(0, 400) };
  const status = error?.status ?? error?.statusCode;
  if (status !== undefined) seen.status_code = status;
  if (typeof error?.code === "string") seen.code = error.code;
  return seen;
}

export async function refused(call) {
  try {
    return { answered: JSON.stringify(await call()).slice(0, 400) };
  } catch (error) {
    return told(error);
  }
}

export async function pieces(stream) {
  const seen = [];
  try {
    for await (const piece of stream) if (piece) seen.push(piece);
  } catch (error) {
    return { pieces: seen, ...told(error) };
  }
  return { pieces: seen };
}

export function weather({ city }) {
  if (!CITIES.includes(city)) throw new Error(`no weather for ${city}`);
  return "21 degrees";
}

export async function printReport(name, checks) {
  const seen = {};
  for (const [check, run] of Object.entries(checks)) {
    try {
      seen[check] = await run();
    } catch (error) {
      seen[check] = { failed: String(error?.stack ?? error).slice(0, 3000) };
    }
  }
  const { version } = JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url)));
  console.log(JSON.stringify({ package: name, version, checks: seen }));
}
