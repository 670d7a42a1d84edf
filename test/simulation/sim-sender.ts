/** A process of the sender: one call of `send()`. */
import { TransferError } from '../../common/errors.ts';
import type { BlockCounters } from '../../sender/transfer/counters.ts';
import type { Observed } from '../../sender/transfer/reporter-port.ts';
import { send } from '../../sender/transfer/send.ts';
import { SimProcess, clockOf } from './scheduler.ts';
import { SimClient } from './sim-client.ts';
import { SimSource } from './sim-source.ts';
import type { SenderProcess, World } from './world.ts';

export type SendResult = Awaited<ReturnType<typeof send>>;

export class SimSender implements SenderProcess {
  readonly process: SimProcess;
  readonly source: SimSource;
  readonly wasDurable: Uint8Array;
  readonly startedMs: number;
  readonly hitsBefore: number;
  readonly epochEndsBefore: number;
  readonly #world: World;
  readonly #interruption = new AbortController();
  #observed: Observed | undefined;

  constructor(world: World, name: string) {
    this.#world = world;
    this.process = new SimProcess(name);
    this.source = new SimSource(world, this.process);
    this.startedMs = world.scheduler.nowMs;
    this.hitsBefore = world.faults.hitCount;
    this.epochEndsBefore = world.epochEnds;
    const { contents, journal, source } = world;
    this.wasDurable = Uint8Array.from({ length: contents.blockCount }, (_, index) => {
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

  /** Ctrl-C. */
  interrupt(): void {
    this.#interruption.abort(new TransferError('interrupted', 'interrupted'));
  }

  async run(): Promise<SendResult> {
    const { profile, scheduler, random, contents } = this.#world;
    return await send(
      {
        source: this.source,
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
          noteRetry: (error) => scheduler.trace(`retry ${error.code}`),
        },
      },
    );
  }
}
