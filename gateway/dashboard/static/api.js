// The admin API, as this page uses it.

export class Failed extends Error {}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", headers: { accept: "application/json" }, signal: AbortSignal.timeout(15000), ...options });
  } catch {
    throw new Failed("The gateway does not answer. Trying again.");
  }
  if (answer.status === 401) {
    location.assign("/dashboard/login");
    throw new Failed("Please log in.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Failed(body?.error?.message ?? `The gateway answered ${answer.status}.`);
  return body;
}

export const get = (path, query = {}) => {
  const set = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(set).toString();
  return call(text ? `${path}?${text}` : path);
};

export const post = (path) => call(path, { method: "POST" });
