// The admin API, as this page uses it.

export class Failed extends Error {
  constructor(message, status) { super(message); this.status = status; }
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", headers: { accept: "application/json" }, signal: AbortSignal.timeout(15000), ...options });
  } catch {
    throw new Failed("The gateway does not answer. Trying again.", 0);
  }
  if (answer.status === 401) {
    location.assign("/dashboard/login");
    throw new Failed("Please log in.", 401);
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Failed(body?.error?.message ?? `The gateway answered ${answer.status}.`, answer.status);
  return body;
}

const full = (path, query) => {
  const set = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(set).toString();
  return text ? `${path}?${text}` : path;
};

export const get = (path, query = {}) => call(full(path, query));

export const post = (path) => call(path, { method: "POST" });

/** A part of a view that can be missing without spoiling the rest: null when this gateway does not have it. */
export const optional = async (path, query = {}) => {
  try {
    return await get(path, query);
  } catch (error) {
    if (error.status === 404 || error.status === 400 || error.status === 422) return null;
    throw error;
  }
};

/** Give the browser the CSV of an admin list. */
export async function download(path, query, name) {
  const answer = await fetch(full(path, query), { credentials: "same-origin", headers: { accept: "text/csv" } });
  if (!answer.ok) throw new Failed(`The gateway answered ${answer.status}.`, answer.status);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
