/**
 * `--bwlimit` as in rclone (https://rclone.org/docs/#bwlimit-bwtimetable): one limit, or limits by the time
 * of the day or week. Pure, except for the time zone.
 */
import { TransferError } from '../errors.ts';
import { formatRate, formatSize } from '../units.ts';

/** Bytes a second; undefined for no limit. */
export type Limit = number | undefined;

/** Below this a body would stand still for longer than the receiver waits. */
export const LIMIT_BYTES_PER_SECOND_MIN = 1024;

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const MINUTES_A_DAY = 24 * 60;
const MINUTES_A_WEEK = 7 * MINUTES_A_DAY;
/** All are powers of 1024; a number alone counts KiB. */
const FACTORS: Readonly<Record<string, number>> = {
  '': 2 ** 10,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
};

/** Applies from this minute of the week, counted from Sunday 00:00, until the next slot. */
interface Slot {
  readonly minute: number;
  readonly limit: Limit;
}

/** Never empty. */
export type BandwidthSchedule = readonly Slot[];

/**
 * `2M`, `512` (KiB), `off`; `08:00,512K 19:00,off`; `Mon-00:00,512K Sat-10:00,1M`; entries are separated by
 * white space or semicolons. Of `<up>:<down>` only the first counts: only responses come down.
 * @throws TransferError `usage`.
 */
export function parseSchedule(text: string): BandwidthSchedule {
  const entries = text.trim().split(/[\s;]+/);
  const [only = ''] = entries;
  if (entries.length === 1 && !only.includes(',')) return [{ minute: 0, limit: parseLimit(only) }];
  return entries.flatMap((entry) => {
    const [when = '', limit, ...rest] = entry.split(',');
    const minutes = minutesOf(when);
    if (minutes === undefined || limit === undefined || rest.length > 0) throw notALimit(entry);
    return minutes.map((minute) => ({ minute, limit: parseLimit(limit) }));
  });
}

/**
 * The limit of the entry that began last, by local time. When clocks are set back, an hour repeats itself;
 * when they are set forward, entries of the skipped hour begin after it.
 * @param wallMs milliseconds since 1970.
 */
export function limitAt(schedule: BandwidthSchedule, wallMs: number): Limit {
  const wall = new Date(wallMs);
  const now = wall.getDay() * MINUTES_A_DAY + wall.getHours() * 60 + wall.getMinutes();
  let latest: { readonly age: number; readonly limit: Limit } = { age: Infinity, limit: undefined };
  for (const { minute, limit } of schedule) {
    const age = (now - minute + MINUTES_A_WEEK) % MINUTES_A_WEEK;
    if (age <= latest.age) latest = { age, limit };
  }
  return latest.limit;
}

/** `08:00`, every day; `Mon-08:00`, `monday-08:00`, once a week. */
function minutesOf(when: string): number[] | undefined {
  const match = /^(?:([a-z]+)-)?([01]\d|2[0-3]):([0-5]\d)$/i.exec(when);
  if (match === null) return undefined;
  const [, name, hour, minute] = match;
  const minuteOfDay = Number(hour) * 60 + Number(minute);
  if (name === undefined) return DAYS.map((_, day) => day * MINUTES_A_DAY + minuteOfDay);
  const day = DAYS.findIndex((each) => [each, each.slice(0, 3)].includes(name.toLowerCase()));
  return day < 0 ? undefined : [day * MINUTES_A_DAY + minuteOfDay];
}

function parseLimit(text: string): Limit {
  const [up = '', ...down] = text.split(':');
  if (down.length > 1) throw notALimit(text);
  const [limit] = [up, ...down].map((each) => parseBytes(each, text));
  return limit;
}

function parseBytes(text: string, whole: string): Limit {
  if (text.toLowerCase() === 'off') return undefined;
  const match = /^(\d{1,15}(?:\.\d{0,6})?|\.\d{1,6})(?:(b)|([kmgtp]?)(?:ib?)?)$/i.exec(text);
  const factor = FACTORS[(match?.[2] ?? match?.[3] ?? '?').toLowerCase()];
  if (match === null || factor === undefined) throw notALimit(whole);
  const bytes = Math.round(Number(match[1]) * factor);
  if (bytes === 0) return undefined;
  if (bytes >= LIMIT_BYTES_PER_SECOND_MIN && Number.isSafeInteger(bytes)) return bytes;
  throw new TransferError('usage', `the bandwidth limit '${whole}' is not between 1K and 8191T a second`, {
    hint: 'write off for no limit',
  });
}

/** `2 MiB/s (16.8 Mbit/s)`: in the unit of the option and in that of the progress line. */
export function formatLimit(limit: Limit): string {
  return limit === undefined ? 'off' : `${formatSize(limit)}/s (${formatRate(limit)})`;
}

function notALimit(text: string): TransferError {
  return new TransferError('usage', `'${text}' is not a bandwidth limit`, {
    hint: "examples: 2M, off, '08:00,512K 19:00,off'; see docs/guide/copying.md",
  });
}
