/** The connections that pull blocks: as many as are wanted at the moment. */
import assert from 'node:assert/strict';
import type { ReceiverClient } from '../client/receiver-port.ts';
import { standstillOf } from '../client/connection/stall-watch.ts';

/** More never helped on any line that was measured, and a receiver has its own limit. */
export const CONNECTIONS_MAX = 64;

/**
 * What a lane does until there is nothing left, or until it is not wanted any more, which it asks after each
 * block. @returns whether it was sent away.
 */
export type LaneWork = (lane: ReceiverClient, isWanted: () => boolean) => Promise<'done' | 'sent away'>;

interface Run {
  readonly work: LaneWork;
  /** Nothing is left, or something has failed: no lane begins any more. */
  isOver: boolean;
  readonly failures: unknown[];
  readonly ended: { readonly promise: Promise<void>; readonly resolve: () => void };
}

export class Lanes implements AsyncDisposable {
  readonly #connect: () => ReceiverClient;
  readonly #all: ReceiverClient[] = [];
  /** The last one was at work last: its connection is the warmest. Idle ones are closed by their client. */
  readonly #idle: ReceiverClient[] = [];
  readonly #running = new Set<ReceiverClient>();
  #wanted = 1;
  #run: Run | undefined;

  /** @param connect makes one that connects when it is used. */
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

  /** At work, those that finish their last block included. */
  get runningCount(): number {
    return this.#running.size;
  }

  get connectedCount(): number {
    const inUse = this.#running.size > 0 ? [...this.#running] : [this.control];
    return inUse.filter((lane) => lane.isConnected).length;
  }

  /** For how long nothing has moved on any lane that has something under way; undefined: none has. */
  get standstillMs(): number | undefined {
    return standstillOf(this.#all);
  }

  get bytesWire(): number {
    return this.#all.reduce((sum, lane) => sum + lane.bytesWire, 0);
  }

  /** Bytes that have reached the other end so far. */
  async acknowledgedBytes(): Promise<number> {
    await Promise.all(this.#all.map(async (lane) => await lane.look()));
    return this.#all.reduce((sum, lane) => sum + lane.acknowledgedBytes, 0);
  }

  /** @param count from now on, at least 1. Of those too many the first that have finished their block go. */
  want(count: number): void {
    assert(count >= 1);
    this.#wanted = count;
    if (this.#run !== undefined) this.#start(this.#run);
  }

  /**
   * Resolves when all lanes have ended because nothing was left.
   * @throws the first failure, when the other lanes have ended too: `work` has to see to it that they do.
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
