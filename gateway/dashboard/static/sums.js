// Adding up rows of /admin/costs. A sum covers what is known; beside it stands how much is not.

const FIELDS = ["requests", "ok_requests", "local_requests", "input_tokens", "output_tokens", "unpriced_requests", "unallocated_requests", "interrupted_requests"];
const MONEY = ["hosted_nanousd", "local_amortised_nanousd", "all_hosted_nanousd", "saved_nanousd"];

export function sum(rows) {
  const total = Object.fromEntries(FIELDS.map((name) => [name, 0]));
  for (const name of MONEY) total[name] = rows.length ? null : 0;
  total.sandbox = false;
  for (const row of rows) {
    for (const name of FIELDS) total[name] += row[name] ?? 0;
    for (const name of MONEY) if (row[name] !== null) total[name] = (total[name] ?? 0) + row[name];
    total.sandbox ||= row.sandbox;
  }
  return total;
}

/** What was paid or booked for some rows: hosted and the GPU's share. Null when nothing of it is known. */
export const spent = (row) => (row.hosted_nanousd === null && row.local_amortised_nanousd === null ? null : (row.hosted_nanousd ?? 0) + (row.local_amortised_nanousd ?? 0));

/** Rows grouped by a field: a Map of value -> rows. */
export function by(rows, field) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row[field])) groups.set(row[field], []);
    groups.get(row[field]).push(row);
  }
  return groups;
}
