/**
 * One transfer of a soak: both commands run, both are killed at random moments, and each death is looked
 * into.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run, start, type Started } from '../test/support/run.ts';
import type { Prng } from '../test/support/prng.ts';
import { Failure, SCRIPTS } from './both-sides.ts';
import { checkJournal } from './journal-check.ts';

const SAMPLE_MS = 25;
/** The journal's own writes, which the kernel counts with the others: not more than this in one life. */
const JOURNAL_BYTES = 512 * 1024;
const START_TIMEOUT_MS = 60_000;
/** One receiver in so many is killed while it starts, the others when they have listened for a while. */
const EARLY_KILLS = 4;
const EARLY_LIFE_MS_MAX = 1500;
const RECEIVER_LIFE_MS_MAX = 2500;
const SENDER_LIFE_MS_MAX = 4000;
/** Far beyond what a transfer takes even when it is killed all the time. */
const TRANSFER_TIMEOUT_MS = 1_800_000;

export interface Tally {
  transfers: number;
  receiverKills: number;
  senderKills: number;
  blocksChecked: number;
  /** What must never happen, in words. */
  readonly violations: string[];
  /** Blocks that were listed at one death and not at the next. */
  withdrawn: number;
  bytesNeeded: number;
  /** To the target, and a little to the journal. */
  bytesWritten: number;
  /** Written by a receiver that was killed, and not durable then: sent again. */
  readonly lostBytes: number[];
  /** How long before each of these deaths the oldest of the lost bytes was written. */
  readonly lostAgesMs: number[];
}

export interface TransferOptions {
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  /** For state and ticket; the same one for all transfers. */
  readonly folder: string;
  readonly host: string;
  /** Of each side. */
  readonly killsMax: number;
  readonly random: Prng;
  readonly tally: Tally;
  readonly signal: AbortSignal;
}

/** @throws Failure when a command fails that nobody killed. */
export async function soakTransfer(options: TransferOptions): Promise<void> {
  await new SoakedTransfer(options).run();
}

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

class SoakedTransfer {
  readonly #options: TransferOptions;
  readonly #stateDir: string;
  readonly #ticketFile: string;
  readonly #firstTicket = Promise.withResolvers<void>();
  readonly #finished = new AbortController();
  /** Listed as durable when last looked at. */
  #durable: readonly number[] = [];
  #port = 0;

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#stateDir = join(options.folder, 'state');
    this.#ticketFile = join(options.folder, 'ticket');
  }

  async run(): Promise<void> {
    const { tally, signal, sizeBytes } = this.#options;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TRANSFER_TIMEOUT_MS)]);
    const stop = (): void => this.#finished.abort();
    limit.addEventListener('abort', stop, { once: true });
    try {
      const sides = [this.#runReceivers(), this.#runSenders()].map(async (side) => await side.finally(stop));
      const results = await Promise.allSettled(sides);
      signal.throwIfAborted();
      if (limit.aborted) throw new Failure(`a transfer did not end within ${TRANSFER_TIMEOUT_MS / 1000} s`);
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    } finally {
      limit.removeEventListener('abort', stop);
    }
    await this.#check('at the end');
    await this.#compare();
    tally.bytesNeeded += sizeBytes;
    tally.transfers++;
  }

  get #isOver(): boolean {
    return this.#finished.signal.aborted;
  }

  async #runReceivers(): Promise<void> {
    const { tally, killsMax, random } = this.#options;
    for (let isFirst = true; !this.#isOver; isFirst = false) {
      const isEarly = !isFirst && random.below(EARLY_KILLS) === 0;
      const lifeMsMax = isEarly ? EARLY_LIFE_MS_MAX : RECEIVER_LIFE_MS_MAX;
      const lifeMs = this.#lifeMs(tally.receiverKills < killsMax, lifeMsMax);
      await using receiver = await this.#startReceiver(isFirst);
      // The first must live until it has forgotten the transfer before this one.
      if (!isEarly) await this.#listening(receiver);
      const life = new AbortController();
      const samples: Sample[] = [];
      const sampling = sampleWrites(receiver.pid, samples, life.signal);
      await this.#live(receiver, lifeMs);
      life.abort();
      await sampling;
      if (this.#isOver) await this.#end(receiver);
      else await this.#kill(receiver, samples);
    }
  }

  async #startReceiver(isFirst: boolean): Promise<Started> {
    const { host, target } = this.#options;
    const place = ['--listen', `${host}:${this.#port}`, '--state-dir', this.#stateDir];
    const discard = isFirst ? ['--discard-transfer'] : [];
    const flags = ['--ticket-file', this.#ticketFile, '--overwrite-target', ...discard];
    return await start(join(SCRIPTS, 'ddt-receive'), [...place, ...flags, target]);
  }

  async #listening(receiver: Started): Promise<void> {
    const [, port] = await receiver.waitForLine(/^listening on \S+:(\d+)$/, START_TIMEOUT_MS);
    this.#port = Number(port);
    this.#firstTicket.resolve();
  }

  /** Infinity when this side has been killed often enough. */
  #lifeMs(isToBeKilled: boolean, max: number): number {
    return isToBeKilled ? this.#options.random.below(max) : TRANSFER_TIMEOUT_MS;
  }

  async #live(process: Started, lifeMs: number): Promise<void> {
    const waiting = new AbortController();
    const signal = AbortSignal.any([this.#finished.signal, waiting.signal]);
    const timer = delay(lifeMs, undefined, { signal }).catch(() => {});
    await Promise.race([timer, process.ended]);
    waiting.abort();
  }

  /** Stopped first, so that what the kernel has counted is what it did. */
  async #kill(receiver: Started, samples: Sample[]): Promise<void> {
    const { tally, blockSizeBytes } = this.#options;
    receiver.kill('SIGSTOP');
    const bytes = (await writtenBytes(receiver.pid)) ?? 0;
    const nowMs = performance.now();
    receiver.kill('SIGKILL');
    const { signal, status, stderr } = await receiver.ended;
    if (signal !== 'SIGKILL') throw new Failure(`ddt-receive ended by itself with ${status}: ${stderr}`);
    tally.receiverKills++;
    tally.bytesWritten += bytes;
    const before = this.#durable.length;
    await this.#check(`after kill ${tally.receiverKills} of the receiver`);
    const lost = Math.max(0, bytes - (this.#durable.length - before) * blockSizeBytes);
    tally.lostBytes.push(lost);
    const oldest = samples.find((sample) => sample.bytes > bytes - lost + JOURNAL_BYTES);
    tally.lostAgesMs.push(oldest === undefined ? 0 : nowMs - oldest.atMs);
  }

  async #end(receiver: Started): Promise<void> {
    this.#options.tally.bytesWritten += (await writtenBytes(receiver.pid)) ?? 0;
    receiver.kill('SIGTERM');
    const { status, signal, stderr } = await receiver.ended;
    if (status !== 0 && !this.#options.signal.aborted)
      throw new Failure(`ddt-receive ended with ${signal ?? status} after the seal: ${stderr}`);
  }

  async #runSenders(): Promise<void> {
    const { tally, killsMax, source } = this.#options;
    await Promise.race([this.#firstTicket.promise, aborted(this.#finished.signal)]);
    const flags = ['--block-size', String(this.#options.blockSizeBytes), '--connections', '4'];
    while (!this.#isOver) {
      const lifeMs = this.#lifeMs(tally.senderKills < killsMax, SENDER_LIFE_MS_MAX);
      const options = [...flags, '--progress', 'none', '--ticket-file', this.#ticketFile, source];
      await using sender = await start(join(SCRIPTS, 'ddt-send'), options);
      await this.#live(sender, lifeMs);
      sender.kill('SIGKILL');
      const { status, signal, stderr } = await sender.ended;
      if (status === 0) return;
      if (signal !== 'SIGKILL') throw new Failure(`ddt-send ended by itself with ${status}: ${stderr}`);
      tally.senderKills++;
    }
  }

  /** Invariant I5: what is listed is on the medium. */
  async #check(when: string): Promise<void> {
    const { tally, target } = this.#options;
    const { durable, wrong } = await checkJournal(this.#stateDir, target);
    tally.blocksChecked += durable.length;
    const listed = new Set(durable);
    // A sender that started before they were durable has sent them again, and they were being rewritten.
    tally.withdrawn += this.#durable.filter((index) => !listed.has(index)).length;
    this.#durable = durable;
    const where = `transfer ${tally.transfers + 1}, ${when}`;
    if (wrong.length > 0) tally.violations.push(`${where}: blocks ${wrong.join()} are listed and not there`);
  }

  /** cmp(1) of what dd(1) reads past the page cache. */
  async #compare(): Promise<void> {
    const { source, target, tally } = this.#options;
    const line = 'dd if="$2" bs=1M iflag=direct status=none | cmp "$1" -';
    const { status, stdout, stderr } = await run('sh', ['-c', line, 'sh', source, target]);
    if (status !== 0) tally.violations.push(`transfer ${tally.transfers + 1}: ${stdout}${stderr}`);
  }
}

/** proc_pid_io(5): what the process caused to be sent to storage. undefined when it is gone. */
async function writtenBytes(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => '');
  const match = /^write_bytes: (\d+)$/m.exec(text);
  return match === null ? undefined : Number(match[1]);
}

async function sampleWrites(pid: number, samples: Sample[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const bytes = await writtenBytes(pid);
    if (bytes !== undefined) samples.push({ atMs: performance.now(), bytes });
    await delay(SAMPLE_MS, undefined, { signal }).catch(() => {});
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
