/**
 * What a ddt-fleet and a ddt-send that it has started say to each other: one JSON object a line, through
 * standard input and output. What the sender prints with `--progress json` comes the same way. Pure.
 */

/** How often ddt-fleet says something, if only `{}`. */
export const FLEET_BEAT_MS = 10_000;
/** After as long a silence the sender ends: ddt-fleet was killed, or the line to it is down. */
export const FLEET_SILENCE_MS_MAX = 60_000;
/** Of the digests in one line; a multiple of three, so that lines of base64 can be decoded one by one. */
export const DIGESTS_CHUNK_BYTES = 24 * 1024;

/** Of ddt-fleet. The first line has a limit. */
export type FleetLine =
  | Readonly<Record<string, never>>
  /** Bytes a second; null: none. */
  | { readonly limit: number | null }
  /** The receipt will survive a crash: what is needed to make it again may be removed. */
  | { readonly isReceiptKept: true };

/** Of the sender, at the end of a copy that was sealed: the digests first, a part in each line. */
export type SteeredLine =
  | { readonly event: 'digests'; readonly base64: string }
  | {
      readonly event: 'receipt';
      /** What the sender exits with: 0 or 3. */
      readonly status: number;
      /** The exact bytes that were signed. */
      readonly json: string;
      readonly signature: string;
    };

export function fleetLine(value: FleetLine | SteeredLine): string {
  return `${JSON.stringify(value)}\n`;
}
