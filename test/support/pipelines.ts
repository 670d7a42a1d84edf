/** `producer | ddt-send -` as a shell runs it, and a sender whose standard input the test writes. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Receiver } from './processes.ts';
import { PROGRAMS, environment, startSender } from './processes.ts';
import { run, type Ended, type Started } from './run.ts';

const SMALL_BLOCKS = ['--progress', 'json', '--block-size', '64KiB'];

/**
 * @param producer for sh(1), with `$0` as its file.
 * @returns how `ddt-send -` ended; its events are on standard output.
 */
export async function pipeInto(
  receiver: Receiver,
  producer: string,
  file: string,
  ...options: readonly string[]
): Promise<Ended> {
  const script = `{ ${producer}; } | "$@"`;
  const send = [join(PROGRAMS, 'ddt-send'), ...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile];
  return await run('sh', ['-c', script, file, ...send, ...options, '-'], { env: environment() });
}

/** Its standard input is open until `stdin.end()`. */
export async function startOnInput(receiver: Receiver, ...options: readonly string[]): Promise<Started> {
  return await startSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, ...options, '-']);
}

/** Resolves when the bytes have left this process; the sender may not have read them yet. */
export async function writeInput(sender: Started, bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    sender.stdin.write(bytes, (error) => (error instanceof Error ? reject(error) : resolve()));
  });
}

/** Resolves when the input is closed. */
export async function endInput(sender: Started): Promise<void> {
  await new Promise<void>((resolve) => sender.stdin.end(() => resolve()));
}

/** Exit status and code of the last event. @returns what the error said. */
export function assertFailed(ended: Ended, status: number, code: string): string {
  assert.deepEqual([ended.status, ended.signal], [status, null], ended.stderr);
  const last = JSON.parse(ended.stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
  assert.deepEqual([last['event'], last['code']], ['failed', code], ended.stderr);
  return ended.stderr;
}
