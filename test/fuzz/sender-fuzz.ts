/**
 * A real ddt-send against a receiver that lies. It ends in time with a documented status, shows nothing that
 * controls a terminal, and exits with 0 only if every block was received.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT_STATUS } from '../../common/errors.ts';
import { Random } from '../simulation/random.ts';
import { fastTempDir } from '../support/open-transfer.ts';
import { prng } from '../support/prng.ts';
import { SCRIPTS, bounded, environment } from '../support/processes.ts';
import { start, type Ended, type Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import { hexOf } from './fuzz-blocks.ts';
import { LIE_BLOCK_BYTES, LyingReceiver } from './lying-receiver.ts';
import { assertShowable } from './parser-property.ts';

export interface SenderFuzzOptions {
  /** Each run has a seed of its own, counted from here. */
  readonly seed: number;
  readonly runs: number;
  /** Of the launchers; default this project's. */
  readonly scripts?: string;
}

/** How many runs ended with each exit status. */
export type SenderFuzzResult = ReadonlyMap<number, number>;

export class SenderFuzzFailure extends Error {
  readonly seed: number;

  constructor(seed: number, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.seed = seed;
  }
}

/** The last block is shorter, and one is zeros. */
const SIZE_BYTES = 5 * LIE_BLOCK_BYTES - 1000;
const ZERO_BLOCK = 2;
const AT_ONCE = 2;
/** With --retry-for 1s, on a busy machine. */
const RUN_TIMEOUT_MS = 120_000;
const MEMORY_MIB_MAX = 600;
const LOOK_MS = 100;
const DOCUMENTED: readonly (number | null)[] = [
  EXIT_STATUS.verified,
  EXIT_STATUS.unproven,
  EXIT_STATUS.refused,
  EXIT_STATUS.device,
  EXIT_STATUS.gaveUp,
];

export async function fuzzSender({
  seed,
  runs,
  scripts = SCRIPTS,
}: SenderFuzzOptions): Promise<SenderFuzzResult> {
  const statuses = new Map<number, number>();
  await using keys = await fastTempDir();
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const content = prng(1).bytes(SIZE_BYTES);
  content.fill(0, ZERO_BLOCK * LIE_BLOCK_BYTES, (ZERO_BLOCK + 1) * LIE_BLOCK_BYTES);
  await writeFile(source, content);
  let next = seed;
  const runSome = async (): Promise<void> => {
    while (next < seed + runs) {
      const own = next++;
      try {
        const status = await runOne(own, { keys: keys.path, source, content, scripts });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      } catch (error) {
        next = Infinity;
        throw new SenderFuzzFailure(own, error);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, runSome));
  return statuses;
}

interface RunParts {
  readonly keys: string;
  readonly source: string;
  readonly content: Buffer;
  readonly scripts: string;
}

/** @returns the exit status. @throws AssertionError. */
async function runOne(seed: number, { keys, source, content, scripts }: RunParts): Promise<number> {
  const random = new Random(seed);
  const lieShare = random.pick([0, 0.03, 0.1, 0.3, 0.9]);
  await using receiver = await LyingReceiver.start(keys, { random, lieShare, sizeBytes: SIZE_BYTES });
  const options = ['--block-size', '64KiB', '--connections', '2', '--compress', 'none', '--retry-for', '1s'];
  const more = ['--yes', '--digest', 'sha-256', '--progress', random.pick(['plain', 'json'])];
  await using sender = await start(join(scripts, 'ddt-send'), [...options, ...more, source], {
    env: environment({ DDT_TICKET: receiver.ticket }),
  });
  const peakMib = peakMemoryOf(sender);
  const ended = await bounded('ddt-send to end', sender.ended, RUN_TIMEOUT_MS);
  assert((await peakMib) < MEMORY_MIB_MAX, `ddt-send used ${await peakMib} MiB`);
  judge(ended, receiver, content);
  assert(lieShare > 0 || ended.status === 0, `an honest receiver, yet: ${ended.stderr}`);
  return Number(ended.status);
}

function judge({ status, signal, stdout, stderr }: Ended, receiver: LyingReceiver, content: Buffer): void {
  const said = `${stdout}\n${stderr}`;
  assert(signal === null && DOCUMENTED.includes(status), `status ${status}, ${signal}: ${said}`);
  assert.doesNotMatch(said, /^ {4}at |\b(Type|Range|Syntax|Assertion)Error\b/m, 'a stack');
  for (const line of said.split('\n')) assertShowable(line);
  if (status !== 0) return;
  const hexes: string[] = [];
  for (let at = 0; at < content.length; at += LIE_BLOCK_BYTES) {
    const hex = hexOf(content.subarray(at, at + LIE_BLOCK_BYTES));
    assert.equal(receiver.received.get(hexes.length), hex, `block ${hexes.length} was not received`);
    hexes.push(hex);
  }
  assert.equal(receiver.root, `sha256:${hexOf(Buffer.from(hexes.join(''), 'hex'))}`);
}

/** The largest that was seen. */
async function peakMemoryOf(process: Started): Promise<number> {
  let peakMib = 0;
  while (process.isRunning) {
    const status = await readFile(`/proc/${process.pid}/status`, 'utf8').catch(() => '');
    peakMib = Math.max(peakMib, Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024);
    await Promise.race([process.ended, new Promise((resolve) => setTimeout(resolve, LOOK_MS))]);
  }
  return peakMib;
}
