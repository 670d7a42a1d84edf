/** One transfer of a soak: both commands run and are killed at random moments; each death is examined. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { checkJournal } from '../../test/support/journal-check.ts';
import type { Prng } from '../../test/support/prng.ts';
import { Receiver, SCRIPTS } from '../../test/support/processes.ts';
import { run, start, type Started } from '../../test/support/run.ts';
import { endedWith, Failure } from '../run-script.ts';

const SAMPLE_MS = 25;
/** An upper bound of the journal's own writes in one life; the kernel counts them with the others. */
const JOURNAL_BYTES = 512 * 1024;
/** One receiver in this many is killed while it starts, the others after they have listened for a while. */
const EARLY_KILLS = 4;
const EARLY_LIFE_MS_MAX = 1500;
const RECEIVER_LIFE_MS_MAX = 2500;
const SENDER_LIFE_MS_MAX = 4000;
/** Far longer than a transfer takes, even when it is killed all the time. */
const TRANSFER_TIMEOUT_MS = 1_800_000;

export interface Tally {
  transfers: number;
  receiverKills: number;
  senderKills: number;
  blocksChecked: number;
  /** What must never happen, as sentences. */
  readonly violations: string[];
  /** Blocks that were listed at one death and not at the next one. */
  withdrawn: number;
  bytesNeeded: number;
  /** To the target, plus a little to the journal. */
  bytesWritten: number;
  /** Written by a receiver that was killed, and not durable: sent again. */
  readonly lostBytes: number[];
  /** How long before each of these deaths the oldest lost byte was written. */
  readonly lostAgesMs: number[];
}

export interface TransferOptions {
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  /** Of the state folder and the ticket file; the same for all transfers. */
  readonly folder: string;
  /** Of each side. */
  readonly killsMax: number;
  readonly random: Prng;
  readonly tally: Tally;
  readonly signal: AbortSignal;
}

/** @throws Failure when a command fails without having been killed. */
export async function soakTransfer(options: TransferOptions): Promise<void> {
  await new SoakedTransfer(options).run();
}

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

class SoakedTransfer {
  readonly #options: TransferOptions;
  readonly #receiver: Receiver;
  readonly #firstTicket = Promise.withResolvers<void>();
  readonly #finished = new AbortController();
  /** Listed as durable at the last check. */
  #durable: readonly number[] = [];

  constructor(options: TransferOptions) {
    this.#options = options;
    const { target, folder } = options;
    this.#receiver = new Receiver({ target, folder, options: ['--overwrite-target'] });
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
      await using receiver = await this.#receiver.spawn({
        options: isFirst ? ['--discard-transfer', '--yes'] : [],
      });
      // The first one must live until it has discarded the transfer before this one.
      if (!isEarly) {
        await this.#receiver.listening();
        this.#firstTicket.resolve();
      }
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

  /** Longer than the transfer when this side has been killed often enough. */
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

  /** Stops it first, so that it writes nothing more after the kernel's counters have been read. */
  async #kill(receiver: Started, samples: Sample[]): Promise<void> {
    const { tally, blockSizeBytes } = this.#options;
    receiver.kill('SIGSTOP');
    const bytes = (await writtenBytes(receiver.pid)) ?? 0;
    const nowMs = performance.now();
    receiver.kill('SIGKILL');
    const ended = await receiver.ended;
    if (ended.signal !== 'SIGKILL') throw endedWith('ddt-receive', ended);
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
    const ended = await receiver.ended;
    if (ended.status !== 0 && !this.#options.signal.aborted)
      throw endedWith('after the seal, ddt-receive', ended);
  }

  async #runSenders(): Promise<void> {
    const { tally, killsMax, source } = this.#options;
    await Promise.race([this.#firstTicket.promise, aborted(this.#finished.signal)]);
    const flags = ['--block-size', String(this.#options.blockSizeBytes), '--connections', '4'];
    while (!this.#isOver) {
      const lifeMs = this.#lifeMs(tally.senderKills < killsMax, SENDER_LIFE_MS_MAX);
      const options = [...flags, '--progress', 'none', '--ticket-file', this.#receiver.ticketFile, source];
      await using sender = await start(join(SCRIPTS, 'ddt-send'), options);
      await this.#live(sender, lifeMs);
      sender.kill('SIGKILL');
      const ended = await sender.ended;
      if (ended.status === 0) return;
      if (ended.signal !== 'SIGKILL') throw endedWith('ddt-send', ended);
      tally.senderKills++;
    }
  }

  /** Invariant I5: every block that is listed is on the medium. */
  async #check(when: string): Promise<void> {
    const { tally, target } = this.#options;
    const { durable, wrong } = await checkJournal(this.#receiver.stateDir, target);
    tally.blocksChecked += durable.length;
    const listed = new Set(durable);
    // A sender that started before they were durable sent them again, and they were being rewritten.
    tally.withdrawn += this.#durable.filter((index) => !listed.has(index)).length;
    this.#durable = durable;
    const where = `transfer ${tally.transfers + 1}, ${when}`;
    if (wrong.length > 0)
      tally.violations.push(`${where}: blocks ${wrong.join()} are listed but not on the medium`);
  }

  /** cmp(1) with what dd(1) reads past the page cache. */
  async #compare(): Promise<void> {
    const { source, target, tally } = this.#options;
    const line = 'dd if="$2" bs=1M iflag=direct status=none | cmp "$1" -';
    const { status, stdout, stderr } = await run('sh', ['-c', line, 'sh', source, target]);
    if (status !== 0) tally.violations.push(`transfer ${tally.transfers + 1}: ${stdout}${stderr}`);
  }
}

/** proc_pid_io(5): bytes that the process caused to be sent to storage. undefined when it has gone. */
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
