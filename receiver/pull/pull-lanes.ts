/**
 * Connections through ssh for a sender that cannot reach this machine: each has a login of its own, which
 * leads from the port where that sender waits to the receiver here. So many are kept.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../common/clock.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { Semaphore } from '../../common/semaphore.ts';
import type { FarHost } from '../../common/ssh/far-host.ts';
import { LOGINS_MAX, SHARED_LOGIN, enterRelay, nextWay, type LaneWay } from '../../common/ssh/lane-way.ts';
import { lastLineOf, type SshClient } from '../../common/ssh/ssh-client.ts';
import { SshLane } from '../../common/ssh/ssh-lane.ts';

/** Of failed logins in a row: sshd blocks addresses that fail fast (PerSourcePenalties). */
const PAUSE_MS_MIN = 1000;
const PAUSE_MS_MAX = 30_000;

export interface PullLanesParts {
  readonly ssh: SshClient;
  readonly host: FarHost;
  readonly clock: Clock;
  readonly warn: (warning: string) => void;
  /** Where the receiver is. */
  readonly near: { readonly host: string; readonly port: number };
  /** Where the sender waits, on its own machine. */
  readonly farPort: number;
}

export class PullLanes implements Disposable {
  readonly #parts: PullLanesParts;
  readonly #closing = new AbortController();
  readonly #permits = new Semaphore(LOGINS_MAX);
  readonly #lanes = new Set<SshLane>();
  #way: LaneWay = { isOwn: true, isRelayed: false };
  #failures = 0;

  /** @param count to keep; at most {@link LOGINS_MAX}. */
  constructor(parts: PullLanesParts, count: number) {
    this.#parts = parts;
    for (let at = 0; at < Math.min(count, LOGINS_MAX); at++) void this.#keep();
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    for (const lane of this.#lanes) lane.socket.destroy();
  }

  async #keep(): Promise<void> {
    const { signal } = this.#closing;
    try {
      for (;;) await this.#one(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** One connection, from its login to its end. */
  async #one(signal: AbortSignal): Promise<void> {
    using permit = await this.#permits.take(signal);
    if (this.#failures > 0) await this.#parts.clock.sleep(this.#pauseMs(), signal);
    const way = this.#way;
    const lane = this.#open(way);
    try {
      if (way.isRelayed) await enterRelay(lane, this.#relayCommand);
      await beginning(lane);
    } catch {
      lane.socket.destroy();
      signal.throwIfAborted();
      await this.#learn(way, await lane.lastWords(), signal);
      return;
    }
    this.#failures = 0;
    this.#permits.limit = LOGINS_MAX;
    permit[Symbol.dispose]();
    await this.#join(lane);
    // A sender that has finished closes its connections first: they need no others.
    await this.#parts.clock.sleep(PAUSE_MS_MIN, signal);
  }

  #pauseMs(): number {
    return Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(this.#failures - 1, 10));
  }

  get #relayCommand(): string {
    return `${this.#parts.host.command} --relay ${this.#parts.farPort} -`;
  }

  #open({ isOwn, isRelayed }: LaneWay): SshLane {
    const { ssh, host, farPort } = this.#parts;
    const to = isRelayed ? undefined : formatHostPort('127.0.0.1', farPort);
    const lane = new SshLane(ssh.laneCommand(isOwn, to, host.isBySudo));
    this.#lanes.add(lane);
    lane.socket.once('close', () => this.#lanes.delete(lane));
    return lane;
  }

  /** What ssh has said decides what is tried next. */
  async #learn(way: LaneWay, words: string, signal: AbortSignal): Promise<void> {
    const { warn, clock, ssh } = this.#parts;
    // Another one may have found it meanwhile.
    if (this.#way !== way) return;
    const next = nextWay(way, words);
    if (next === undefined) {
      // A sender that has finished closes its connections first.
      await clock.sleep(PAUSE_MS_MIN, signal);
      this.#permits.limit = 1;
      if (this.#failures++ > 0) return;
      const reason = lastLineOf(words) || 'ssh has ended';
      warn(`no connection through ssh to ${ssh.login}: ${reason}; trying again`);
      return;
    }
    this.#way = next;
    if (!way.isOwn || next.isOwn) return;
    warn(SHARED_LOGIN);
  }

  async #join({ socket }: SshLane): Promise<void> {
    const near = connect({ ...this.#parts.near, noDelay: true });
    near.on('error', () => {});
    // Two pipelines add more than the usual number.
    for (const one of [socket, near]) one.setMaxListeners(0);
    try {
      await once(near, 'connect');
      const both = [pipeline(socket, near), pipeline(near, socket)];
      // Either end ends the other: a line that is open one way only carries no requests.
      await Promise.race(both.map(async (way) => await way.catch(() => {})));
    } catch {
      // The receiver is gone: so is this run, soon.
    }
    near.destroy();
    socket.destroy();
  }
}

/** Of what the sender says: before that the connection waits there. @throws Error when it ends before. */
async function beginning({ socket }: SshLane): Promise<void> {
  const begun = Promise.withResolvers<void>();
  const fail = (): void => begun.reject(new Error('the connection has ended'));
  const look = (): void => {
    if (socket.readableLength > 0) begun.resolve();
  };
  socket.on('readable', look).once('close', fail);
  look();
  try {
    await begun.promise;
  } finally {
    socket.off('readable', look).off('close', fail);
  }
}
