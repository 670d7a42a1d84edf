/** Sizes, durations and rates as people write and read them. Pure. */
import { TransferError } from './errors.ts';

const SIZE_FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};

const DURATION_FACTORS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * `4MiB`, `512K`, `1.5G`, `1000`: K M G T and KiB… are powers of 1024, KB… powers of 1000.
 * @param option the size belongs to, for messages. @returns whole bytes. @throws TransferError `usage`.
 */
export function parseSize(text: string, option?: string): number {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)([A-Za-z]{0,3})$/.exec(text);
  const factor = SIZE_FACTORS[match?.[2] ?? '?'];
  const bytes = factor === undefined ? NaN : Math.round(Number(match?.[1]) * factor);
  if (!Number.isSafeInteger(bytes)) {
    throw new TransferError('usage', `${prefix(option)}'${text}' is not a size`, {
      hint: 'for example 4MiB, 512K or 1.5GB',
    });
  }
  return bytes;
}

/**
 * `90s`, `15m`, `24h`, `7d`.
 * @param option the duration belongs to, for messages. @returns milliseconds. @throws TransferError `usage`.
 */
export function parseDuration(text: string, option?: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text);
  const factor = DURATION_FACTORS_MS[match?.[2] ?? '?'];
  const ms = factor === undefined ? NaN : Math.round(Number(match?.[1]) * factor);
  if (!Number.isSafeInteger(ms)) {
    throw new TransferError('usage', `${prefix(option)}'${text}' is not a duration`, {
      hint: 'for example 90s, 15m or 24h',
    });
  }
  return ms;
}

function prefix(option: string | undefined): string {
  return option === undefined ? '' : `${option} `;
}

/** A whole number within bounds, both inclusive. @throws TransferError `usage`, naming `what`. */
export function parseWhole(text: string, what: string, min: number, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    throw new TransferError('usage', `${what} '${text}' is not a whole number from ${min} to ${max}`);
  }
  return value;
}

/** `931.5 GiB`; exact bytes below 1 KiB. */
export function formatSize(bytes: number): string {
  const names = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let at = 0;
  let value = bytes;
  // Compared as it will be shown: 1024.0 KiB becomes 1.0 MiB.
  while (Math.round(value * 10) >= 10_240 && at < names.length - 1) {
    value /= 1024;
    at++;
  }
  if (at === 0) return `${value} ${value === 1 ? 'byte' : 'bytes'}`;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${names[at]}`;
}

/** `13 h 40 m`, `2 m 5 s`, `8 s`: the two largest units. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor((seconds % 86_400) / 3600), 'h'],
    [Math.floor((seconds % 3600) / 60), 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** Network rates are in bits: `92.4 Mbit/s`. */
export function formatRate(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8;
  // Half a step below the next unit, so that nothing is shown as 1000 of the smaller one.
  if (bits >= 999.95e6) return `${(bits / 1e9).toFixed(2)} Gbit/s`;
  if (bits >= 999.5e3) return `${(bits / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bits / 1e3)} kbit/s`;
}
