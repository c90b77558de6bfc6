// Adding up rows of /admin/costs. A sum covers what is known; beside it stands how much is not.

const FIELDS = [
  "requests", "ok_requests", "local_requests", "error_requests", "fallback_requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
  "unpriced_requests", "unallocated_requests", "interrupted_requests",
];
const MONEY = ["hosted_nanousd", "local_amortised_nanousd", "all_hosted_nanousd", "saved_nanousd"];

/** Requests that did not get an answer; a client that left before its answer was whole is not among them where the gateway tells the two apart. */
export const failed = (row) => row.error_requests ?? row.requests - row.ok_requests;

/** What was paid or booked for some rows: hosted and the GPU's share. Null when nothing of it is known. */
export const spent = (row) => ((row.local_amortised_nanousd === null && !row.hosted_nanousd) || (row.hosted_nanousd === null && !row.local_amortised_nanousd) ? null : (row.hosted_nanousd ?? 0) + (row.local_amortised_nanousd ?? 0));

/** Nano-dollars for a thousand requests of a row; null where it is not known. */
function perThousand(row) {
  if (row.cost_per_1k_requests_nanousd !== undefined) return row.cost_per_1k_requests_nanousd;
  const cost = spent(row);
  return cost === null || !row.requests ? null : (cost * 1000) / row.requests;
}

export function sum(rows) {
  const total = Object.fromEntries(FIELDS.map((name) => [name, 0]));
  for (const name of MONEY) total[name] = rows.length ? null : 0;
  total.sandbox = false;
  let weighed = 0, priced = 0;
  for (const row of rows) {
    for (const name of FIELDS) total[name] += row[name] ?? 0;
    if (row.error_requests === undefined) total.error_requests += failed(row);
    for (const name of MONEY) if (row[name] !== null) total[name] = (total[name] ?? 0) + row[name];
    total.sandbox ||= row.sandbox;
    const rate = perThousand(row);
    if (rate !== null) { weighed += rate * row.requests; priced += row.requests; }
  }
  total.cost_per_1k_requests_nanousd = priced ? weighed / priced : null;
  return total;
}

/** Rows grouped by a field: a Map of value -> rows. */
export function by(rows, field) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row[field])) groups.set(row[field], []);
    groups.get(row[field]).push(row);
  }
  return groups;
}

export const tokens = (row) => (row.input_tokens ?? 0) + (row.output_tokens ?? 0);
