/** A process of the sender: one call of `send()`. */
import { TransferError } from '../../common/errors.ts';
import type { BlockCounters } from '../../sender/transfer/counters.ts';
import type { Observed } from '../../sender/transfer/reporter-port.ts';
import { send } from '../../sender/transfer/send.ts';
import { SimProcess, clockOf } from './scheduler.ts';
import { SimClient } from './sim-client.ts';
import type { PipeOperator } from './pipe-operator.ts';
import { SimPipe } from './sim-pipe.ts';
import { SimSource } from './sim-source.ts';
import type { SenderProcess, World } from './world.ts';

/** How late a signal may reach the program before the pipe, and ours. */
const CLOSE_MS_MAX = 100;
const SIGNAL_MS_MAX = 400;

export type SendResult = Awaited<ReturnType<typeof send>>;

export class SimSender implements SenderProcess {
  readonly process: SimProcess;
  readonly source: SimSource | SimPipe;
  readonly wasDurable: Uint8Array;
  readonly startedMs: number;
  readonly hitsBefore: number;
  readonly epochEndsBefore: number;
  readonly #world: World;
  readonly #interruption = new AbortController();
  #observed: Observed | undefined;

  /** @param operator of a pipe. */
  constructor(world: World, name: string, operator: PipeOperator | undefined) {
    this.#world = world;
    this.process = new SimProcess(name);
    this.source = operator?.open(this.process) ?? new SimSource(world, this.process);
    this.startedMs = world.scheduler.nowMs;
    this.hitsBefore = world.faults.hitCount;
    this.epochEndsBefore = world.epochEnds;
    const { contents, journal, source, disk } = world;
    this.wasDurable = Uint8Array.from({ length: disk.blockCount }, (_, index) => {
      if (index >= contents.blockCount) return 0;
      const wanted = contents.digestOf(index, source.versions[index] ?? 0);
      return journal.blocks.get(index)?.digest.equals(wanted) === true ? 1 : 0;
    });
  }

  get counters(): Readonly<BlockCounters> | undefined {
    return this.#observed?.counters;
  }

  /** The versions that the sender has read. */
  get versionsRead(): ReadonlyMap<number, number> {
    return this.source.asRead;
  }

  /** The source if it is a pipe. */
  get pipe(): SimPipe | undefined {
    return this.source instanceof SimPipe ? this.source : undefined;
  }

  /** Ctrl-C. It also ends the program before a pipe, a moment before or after the signal arrives here. */
  interrupt(): void {
    const { pipe } = this;
    const abort = (): void => this.#interruption.abort(new TransferError('interrupted', 'interrupted'));
    if (pipe === undefined) return abort();
    const { scheduler, random } = this.#world;
    scheduler.after(random.unit() * CLOSE_MS_MAX, this.process, 'closed', () => pipe.close());
    scheduler.after(random.unit() * SIGNAL_MS_MAX, undefined, 'signal', abort);
  }

  async run(): Promise<SendResult> {
    const { profile, scheduler, random, contents } = this.#world;
    return await send(
      {
        source: this.source instanceof SimPipe ? this.source.stream : this.source,
        connect: (onResponse) => new SimClient(this.#world, this.process, onResponse),
        receiverName: 'receiver',
        connections: profile.isAuto ? 'auto' : profile.connections,
        digest: profile.digest,
        blockSizeBytes: profile.geometry.blockSizeBytes,
        retryForMs: profile.retryForMs,
        memoryBytes: profile.senderSlabs * profile.geometry.blockSizeBytes,
      },
      {
        clock: clockOf(scheduler, this.process),
        digests: contents.digests.ports,
        random: random.unit,
        signal: this.#interruption.signal,
        reporter: {
          fact: () => {},
          start: (observed) => {
            this.#observed = observed;
          },
          noteUnreadable: () => {},
          noteKept: () => {},
          noteRoom: () => {},
          noteOtherSource: () => {},
          noteLost: () => {},
          noteRetry: (error) => scheduler.trace(`retry ${error.code}`),
        },
      },
    );
  }
}
