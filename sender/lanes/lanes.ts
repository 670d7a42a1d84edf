/** The connections that pull blocks: as many as are wanted at the moment. */
import assert from 'node:assert/strict';
import { Semaphore } from '../../common/semaphore.ts';
import type { ReceiverClient } from '../client/receiver-port.ts';
import { standstillOf } from '../client/connection/stall-watch.ts';
/** More never helped on any line that was measured, and a receiver has its own limit. */
export const CONNECTIONS_MAX = 64;

/**
 * What a lane does until nothing is left, or until it is not wanted any more, which it asks after each block.
 * @returns whether it was dismissed.
 */
export type LaneWork = (lane: ReceiverClient, isWanted: () => boolean) => Promise<'done' | 'dismissed'>;

/** A lane, for those who watch. */
export interface LaneView {
  readonly client: ReceiverClient;
  readonly isRunning: boolean;
}

interface Run {
  readonly work: LaneWork;
  /** Nothing is left, or something has failed: no further lane starts. */
  isOver: boolean;
  readonly failures: unknown[];
  readonly ended: { readonly promise: Promise<void>; readonly resolve: () => void };
}

export class Lanes implements AsyncDisposable {
  readonly #connect: () => ReceiverClient;
  readonly #all: ReceiverClient[] = [];
  /**
   * The last one was used last: its connection is the warmest. Idle connections are closed by their client.
   */
  readonly #idle: ReceiverClient[] = [];
  readonly #running = new Set<ReceiverClient>();
  readonly #sending = new Semaphore(1);
  #wanted = 1;
  #run: Run | undefined;

  /** @param connect makes a client that connects when it is used. */
  constructor(connect: () => ReceiverClient) {
    this.#connect = connect;
    this.#idle.push(this.#add());
  }

  /** For requests that are not about one block. */
  get control(): ReceiverClient {
    const [first] = this.#all;
    assert(first !== undefined);
    return first;
  }

  /** At work, including those that finish their last block. */
  get runningCount(): number {
    return this.#running.size;
  }

  /** Those of them that may send, and surplus ones that still do. */
  get sendingCount(): number {
    return Math.max(this.#sending.takenCount, Math.min(this.#running.size, this.#sending.limit));
  }

  get connectedCount(): number {
    const inUse = this.#running.size > 0 ? [...this.#running] : [this.control];
    return inUse.filter((lane) => lane.isConnected).length;
  }

  /** All that were ever used, in the order of their first use. */
  get views(): readonly LaneView[] {
    return this.#all.map((client) => ({ client, isRunning: this.#running.has(client) }));
  }

  /** For how long nothing has moved on any lane with a request; undefined without one. */
  get standstillMs(): number | undefined {
    return standstillOf(this.#all);
  }

  get bytesWire(): number {
    return this.#all.reduce((sum, lane) => sum + lane.bytesWire, 0);
  }

  /** Bytes that have reached the other end so far. */
  async acknowledgedBytes(): Promise<number> {
    await Promise.all(this.#all.map(async (lane) => await lane.refreshAcknowledged()));
    return this.#all.reduce((sum, lane) => sum + lane.acknowledgedBytes, 0);
  }

  /**
   * If more are running, those that finish their block first go.
   * @param count lanes to run, at least 1: they read and compare. @param senders of them may
   * send.
   */
  want(count: number, senders = count): void {
    assert(senders >= 1 && count >= senders);
    this.#wanted = count;
    this.#sending.limit = senders;
    if (this.#run !== undefined) this.#start(this.#run);
  }

  /** To be held while a block is in flight. @throws the signal's reason. */
  async permitToSend(signal: AbortSignal): Promise<Disposable> {
    return await this.#sending.take(signal);
  }

  /**
   * Resolves when all lanes have ended because nothing was left.
   * @throws the first failure, when the other lanes have ended too: `work` has to make sure that they do.
   */
  async run(work: LaneWork): Promise<void> {
    assert(this.#run === undefined);
    const run: Run = { work, isOver: false, failures: [], ended: Promise.withResolvers<void>() };
    this.#run = run;
    this.#start(run);
    await run.ended.promise;
    this.#run = undefined;
    if (run.failures.length > 0) throw run.failures[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#all.map(async (lane) => await lane.close()));
  }

  #start(run: Run): void {
    while (!run.isOver && this.#running.size < this.#wanted) {
      const lane = this.#idle.pop() ?? this.#add();
      this.#running.add(lane);
      void this.#runOne(lane, run);
    }
    if (this.#running.size === 0) run.ended.resolve();
  }

  async #runOne(lane: ReceiverClient, run: Run): Promise<void> {
    try {
      const end = await run.work(lane, () => this.#running.size <= this.#wanted);
      if (end === 'done') run.isOver = true;
    } catch (error) {
      run.isOver = true;
      run.failures.push(error);
    }
    this.#running.delete(lane);
    this.#idle.push(lane);
    this.#start(run);
  }

  #add(): ReceiverClient {
    const lane = this.#connect();
    this.#all.push(lane);
    return lane;
  }
}
