/**
 * What a ddt-receive and the ddt-send that it has started on the machine of the source say to each other: one
 * JSON object a line, through standard input and output. Pure.
 */
import type { Trouble } from './hooks.ts';
import { isRecord } from './records.ts';

/** How often the receiver's side says something, if only `{}`. */
export const BEAT_MS = 10_000;
/** After as long a silence the sender ends: the other side was killed, or the line is down. */
export const SILENCE_MS_MAX = 45_000;

/** Of the receiver's side, first: who it is, and what it shows the sender's output on. */
export interface PullHello {
  /** Of that machine. */
  readonly name: string;
  /** null: no terminal. */
  readonly terminal: { readonly columns: number; readonly hasBlocks: boolean } | null;
}

/** Of the receiver's side, after `ready`. */
export interface PullStart {
  readonly ticket: string;
  /** `host:port` where the receiver may be reached straight. */
  readonly places: readonly string[];
}

/** Of the receiver's side, at any time: nothing, the width of the terminal, or that progress is asked for. */
export interface PullBeat {
  readonly columns?: number;
  readonly isProgressAsked?: true;
}

/** Of the sender. */
export type PulledLine =
  /** The source is open and was shown. */
  | { readonly ready: true }
  /** Connections are to be brought to this port of its loopback address. */
  | { readonly port: number; readonly connections: number }
  /** Whole lines for standard output or standard error. */
  | { readonly out: string }
  | { readonly err: string }
  /** What people should know of who are not looking, and what there is to say at the end. */
  | { readonly trouble: Trouble }
  | { readonly end: Trouble }
  /** The live area; null: what it shows stays. */
  | { readonly live: readonly string[] | null };

export function pullLine(value: PullHello | PullStart | PullBeat | PulledLine): string {
  return `${JSON.stringify(value)}\n`;
}

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

/** As the other side has it. @returns undefined where it is something else. */
export function troubleIn(value: unknown): Trouble | undefined {
  if (!isRecord(value)) return undefined;
  const { code, message } = value;
  if (typeof code !== 'string' || typeof message !== 'string') return undefined;
  const [hint, source, target] = ['hint', 'source', 'target'].map((name) => {
    const text = value[name];
    return typeof text === 'string' ? text : undefined;
  });
  return { code, message, hint, source, target };
}
