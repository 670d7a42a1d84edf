/** One transfer of a soak: both commands run and are killed at random moments; each death is examined. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import { checkJournal, readReceipt } from '../../test/support/journal-check.ts';
import { prng, type Prng } from '../../test/support/prng.ts';
import { Receiver, SCRIPTS } from '../../test/support/processes.ts';
import { run, start, type Started } from '../../test/support/run.ts';
import { endedWith, Failure } from '../run-script.ts';
import { ForeignWriter } from './foreign-writer.ts';

const SAMPLE_MS = 25;
/** An upper bound of the journal's own writes in one life; the kernel counts them with the others. */
const JOURNAL_BYTES = 512 * 1024;
/** One receiver in this many is killed while it starts, the others after they have listened for a while. */
const EARLY_KILLS = 4;
const EARLY_LIFE_MS_MAX = 1500;
const RECEIVER_LIFE_MS_MAX = 2500;
const SENDER_LIFE_MS_MAX = 4000;
/** Other programs write once in this time, on average, while both sides run. */
const FOREIGN_INTERVAL_MS = 300;
/** With fewer blocks listed, others could overwrite all of them: then the receiver refuses to resume. */
const LISTED_MIN = 16;
/** Ends of ddt-send that writes of others cause, and that prove nothing wrong. */
const CHANGED = /no longer holds what was sealed|are not what was sealed/;
const REFUSALS = new RegExp(`another program keeps writing to|cannot verify|${CHANGED.source}`);
/** Far longer than a transfer takes, even when it is killed all the time. */
const TRANSFER_TIMEOUT_MS = 1_800_000;

export interface Tally {
  transfers: number;
  receiverKills: number;
  senderKills: number;
  blocksChecked: number;
  foreignWrites: number;
  /** Runs of ddt-send that ended with an error because of them. */
  refusals: number;
  /** Transfers whose target was changed after the seal, which the next run noticed. */
  changedAfterSeal: number;
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
  /** How many times in a hundred other programs write where they could. */
  readonly foreignPercent: number;
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
  readonly #others: ForeignWriter;
  /** Ends the life of the receiver that runs now. */
  #endLife = (): void => {};
  /** The sender reported, rightly or not, that the sealed target has changed. */
  #isChanged = false;
  /** Listed as durable at the last check. */
  #durable: readonly number[] = [];

  constructor(options: TransferOptions) {
    this.#options = options;
    const { target, folder, sizeBytes, random } = options;
    this.#others = new ForeignWriter({ target, sizeBytes, random: prng(random.next()) });
    this.#receiver = new Receiver({ target, folder, options: ['--overwrite-target'] });
  }

  async run(): Promise<void> {
    const { tally, signal, sizeBytes } = this.#options;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TRANSFER_TIMEOUT_MS)]);
    const stop = (): void => this.#finished.abort();
    limit.addEventListener('abort', stop, { once: true });
    try {
      const sides = [this.#runReceivers(), this.#runSenders(), this.#runOthers()].map(
        async (side) => await side.finally(stop),
      );
      const results = await Promise.allSettled(sides);
      signal.throwIfAborted();
      if (limit.aborted) throw new Failure(`a transfer did not end within ${TRANSFER_TIMEOUT_MS / 1000} s`);
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    } finally {
      limit.removeEventListener('abort', stop);
    }
    tally.foreignWrites += this.#others.count;
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
      this.#endLife = () => life.abort();
      const samples: Sample[] = [];
      const sampling = sampleWrites(receiver.pid, samples, life.signal);
      await this.#live(receiver, lifeMs, life.signal);
      life.abort();
      await sampling;
      if (this.#isOver) await this.#end(receiver);
      else await this.#kill(receiver, samples);
      if (!this.#isOver && this.#isForeignTurn()) await this.#others.write();
    }
  }

  /** Writes at random moments; as long as both sides are killed, so that the transfer ends. */
  async #runOthers(): Promise<void> {
    const { random, foreignPercent } = this.#options;
    if (foreignPercent === 0) return await aborted(this.#finished.signal);
    const moments = prng(random.next());
    while (!this.#isOver) {
      const signal = this.#finished.signal;
      await delay(moments.below(2 * FOREIGN_INTERVAL_MS), undefined, { signal }).catch(() => {});
      if (!this.#isOver && this.#isForeignTurn()) await this.#others.write();
    }
  }

  #isForeignTurn(): boolean {
    const { tally, killsMax, random, foreignPercent } = this.#options;
    const isKilling = tally.receiverKills < killsMax || tally.senderKills < killsMax;
    return isKilling && this.#durable.length >= LISTED_MIN && random.below(100) < foreignPercent;
  }

  /** Longer than the transfer when this side has been killed often enough. */
  #lifeMs(isToBeKilled: boolean, max: number): number {
    return isToBeKilled ? this.#options.random.below(max) : TRANSFER_TIMEOUT_MS;
  }

  async #live(process: Started, lifeMs: number, end = this.#finished.signal): Promise<void> {
    const waiting = new AbortController();
    const signal = AbortSignal.any([this.#finished.signal, waiting.signal, end]);
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
      if (ended.signal === 'SIGKILL') tally.senderKills++;
      else if (this.#others.count === 0 || !REFUSALS.test(ended.stderr)) throw endedWith('ddt-send', ended);
      else {
        tally.refusals++;
        this.#isChanged = CHANGED.test(ended.stderr);
        if (this.#isChanged) return;
        // It keeps refusing blocks that others have overwritten again and again; the next one does not.
        this.#endLife();
      }
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
    const { blockSizeBytes } = this.#options;
    // Listed until they are found.
    const unexplained = wrong.filter((index) => {
      return !this.#others.hasTouched(index * blockSizeBytes, (index + 1) * blockSizeBytes);
    });
    if (unexplained.length > 0)
      tally.violations.push(`${where}: blocks ${unexplained.join()} are listed but not on the medium`);
  }

  /**
   * cmp(1) with what dd(1) reads past the page cache. Only bytes that others may have written after
   * the date of the receipt may differ.
   */
  async #compare(): Promise<void> {
    const { source, target, tally } = this.#options;
    const line = 'dd if="$2" bs=1M iflag=direct status=none | cmp -l "$1" -';
    const { status, stdout, stderr } = await run('sh', ['-c', line, 'sh', source, target]);
    const where = `transfer ${tally.transfers + 1}`;
    const offsets = Array.from(stdout.matchAll(/^ *(\d+) /gm), (match) => Number(match[1]) - 1);
    if (this.#isChanged) {
      tally.changedAfterSeal++;
      if (status === 0) tally.violations.push(`${where}: refused as changed, but equal to its source`);
    }
    const verifiedMs = await this.#verifiedMs();
    const wrong = offsets.filter((at) => !this.#others.hasTouched(at, at + 1, verifiedMs));
    if (wrong.length > 0 || (status !== 0 && offsets.length === 0))
      tally.violations.push(`${where}: ${wrong.length} bytes differ, the first at ${wrong[0]}${stderr}`);
  }

  async #verifiedMs(): Promise<number> {
    const json = await readReceipt(this.#receiver.stateDir);
    if (json === undefined) throw new Failure('the transfer has ended without a receipt');
    return Date.parse((JSON.parse(json) as SealReceipt).verifiedAt);
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
