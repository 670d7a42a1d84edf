/** JSON Schemas of objects that may get members, closed for tests: what is sent has to be in the document. */
import { isRecord } from '../../common/records.ts';

export function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (!isRecord(value)) return value;
  const members = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, closed(one)]));
  return isRecord(value['properties']) ? { ...members, unevaluatedProperties: false } : members;
}
