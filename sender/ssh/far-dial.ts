/**
 * How connections get to the receiver on the far machine: straight to its port, or each through an ssh of its
 * own. When one fails, the receiver is looked after before the next one is tried.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { Semaphore } from '../../common/semaphore.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import type { Ticket } from '../../common/trust/ticket.ts';
import type { Dial } from '../client/connection/connector.ts';
import type { UnackedBytes } from '../client/connection/unacked-bytes.ts';
import { findDirect, plainly, transportTo, type DirectPlace, type Secure } from './direct-place.ts';
import type { FarReceiver } from './far-receiver.ts';
import { LOGINS_MAX, SHARED_LOGIN, enterRelay, nextWay, type LaneWay } from '../../common/ssh/lane-way.ts';
import { lastLineOf, type SshClient } from '../../common/ssh/ssh-client.ts';
import { SshLane } from '../../common/ssh/ssh-lane.ts';

/** Each relay is a process of its own on the far machine, with 24 MB of its own. */
const RELAYS_MAX = 8;
/** Of failed connections in a row: sshd blocks addresses that fail fast (PerSourcePenalties). */
const PAUSE_MS_MIN = 1000;
const PAUSE_MS_MAX = 10_000;

export type Way =
  | { readonly kind: 'direct'; readonly place: DirectPlace }
  | ({ readonly kind: 'ssh' } & LaneWay);

export interface FarDialParts {
  readonly ssh: SshClient;
  readonly receiver: FarReceiver;
  readonly unacked: UnackedBytes;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly say: (fact: string) => void;
  readonly warn: (warning: string) => void;
}

export class FarDial {
  readonly #parts: FarDialParts;
  readonly #places: readonly DirectPlace[];
  readonly #permits = new Semaphore(LOGINS_MAX);
  readonly #lanes = new Set<SshLane>();
  readonly #care: SingleFlight<void>;
  #ticket: Ticket;
  #way: Way = { kind: 'ssh', isOwn: true, isRelayed: false };
  #failures = 0;
  #hasTriedLogin = false;

  /** @param places to try before ssh. */
  constructor(parts: FarDialParts, ticket: Ticket, places: readonly DirectPlace[]) {
    this.#parts = parts;
    this.#ticket = ticket;
    this.#places = places;
    this.#care = new SingleFlight(async () => await this.#startAgain());
  }

  /** undefined: as many as help. */
  get connectionsMax(): number | undefined {
    return this.#way.kind === 'ssh' && this.#way.isRelayed ? RELAYS_MAX : undefined;
  }

  /** Finds a way that works. @throws TransferError when there is none. */
  async choose(): Promise<void> {
    const { ssh, say, warn } = this.#parts;
    const place = await findDirect(this.#places, this.#ticket);
    if (place !== undefined) {
      this.#way = { kind: 'direct', place };
      say(`line     straight to ${this.#nameOf(place)}`);
      if (!this.#hasTriedLogin) void this.#tryLogin();
      this.#hasTriedLogin = true;
      return;
    }
    this.#way = { kind: 'ssh', isOwn: true, isRelayed: false };
    const socket = await this.#overSsh(plainly(this.#ticket.pin));
    socket.destroy();
    const { isOwn, isRelayed } = this.#way;
    const how = isRelayed ? ', whose server forwards no ports' : '';
    say(`line     through ssh to ${ssh.login}${how}: TCP ${this.#ticket.port} cannot be reached`);
    if (isOwn) return;
    warn(SHARED_LOGIN);
  }

  readonly dial: Dial = async (secure) => {
    const { signal, clock } = this.#parts;
    using _permit = this.#isUnlimited ? undefined : await this.#permits.take(signal);
    if (this.#failures > 0) await clock.sleep(this.#pauseMs(), signal);
    try {
      const socket = await this.#over(secure);
      this.#failures = 0;
      this.#permits.limit = LOGINS_MAX;
      return socket;
    } catch (error) {
      signal.throwIfAborted();
      this.#permits.limit = 1;
      if (error instanceof TransferError && error.code === 'pin-mismatch') throw error;
      await this.#care.run();
      throw error;
    }
  };

  /** Ends what the sender's connections have not. */
  close(): void {
    for (const lane of this.#lanes) lane.socket.destroy();
  }

  get #isUnlimited(): boolean {
    return this.#way.kind === 'direct' && this.#failures === 0;
  }

  #pauseMs(): number {
    return Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(this.#failures - 1, 10));
  }

  async #over(secure: Secure): Promise<Socket> {
    if (this.#way.kind === 'ssh') return await this.#overSsh(secure);
    const { place } = this.#way;
    try {
      return await secure(transportTo(place, this.#ticket));
    } catch (error) {
      if (error instanceof TransferError) throw error;
      throw unreachable(`cannot reach the receiver at ${this.#nameOf(place)}: ${reasonOf(error)}`, error);
    }
  }

  #nameOf({ host, port = this.#ticket.port }: DirectPlace): string {
    return formatHostPort(host, port);
  }

  /** Through ssh in the way that worked before, or the next one that does. */
  async #overSsh(secure: Secure): Promise<Socket> {
    for (;;) {
      const way = this.#way;
      if (way.kind !== 'ssh') return await this.#over(secure);
      const lane = this.#openLane(way);
      try {
        if (way.isRelayed) await enterRelay(lane, this.#parts.receiver.relayCommand);
        const socket = await secure({ httpSocket: lane.socket });
        this.#parts.unacked.carry(socket, lane);
        return socket;
      } catch (error) {
        lane.socket.destroy();
        if (error instanceof TransferError) throw error;
        const words = await lane.lastWords();
        const next = nextWay(way, words);
        if (next === undefined) throw this.#laneFailure(words, error);
        // Another lane may have found it meanwhile.
        if (this.#way === way) this.#way = { kind: 'ssh', ...next };
      }
    }
  }

  #openLane({ isOwn, isRelayed }: Way & { kind: 'ssh' }): SshLane {
    const { ssh, receiver } = this.#parts;
    const { host, port } = receiver.place;
    const to = isRelayed ? undefined : formatHostPort(host, port);
    const lane = new SshLane(ssh.laneCommand(isOwn, to, receiver.isBySudo));
    this.#lanes.add(lane);
    lane.socket.once('close', () => this.#lanes.delete(lane));
    return lane;
  }

  #laneFailure(words: string, cause: unknown): TransferError {
    const { ssh } = this.#parts;
    const reason = lastLineOf(words) || reasonOf(cause);
    return unreachable(`cannot reach the receiver through ssh to ${ssh.login}: ${reason}`, cause);
  }

  /** What has to be known before the machine is started again. */
  async #tryLogin(): Promise<void> {
    const { ssh, warn } = this.#parts;
    if (await ssh.canLogInAlone()) return;
    warn(
      `ssh asks a question at each login to ${ssh.login}: if the receiver has to be started again, ` +
        'run the same command again',
    );
  }

  /** The receiver, or its machine, may have been started again. */
  async #startAgain(): Promise<void> {
    const { receiver, signal, ssh, say } = this.#parts;
    // Connections that fail together are one failure.
    this.#failures++;
    try {
      const { ticket, hasStarted } = await receiver.startAgain();
      // Why they failed is known, and is over.
      if (hasStarted) {
        this.#failures = 1;
        say(`note     the receiver at ${ssh.login} had ended, and was started again`);
      }
      if (ticket.pin !== this.#ticket.pin || ticket.token !== this.#ticket.token) {
        throw new TransferError(
          'pin-mismatch',
          'the receiver on the far machine has begun another transfer',
          {
            hint: 'run the same command again',
          },
        );
      }
      const hasMoved = ticket.port !== this.#ticket.port;
      this.#ticket = ticket;
      if (this.#way.kind === 'direct' && (hasMoved || this.#failures > 2)) await this.choose();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      // The line is down, as far as anybody can tell; or a question would have to be answered.
      if (error.kind === 'transient' || error.code === 'login-refused') return;
      throw error;
    }
  }
}

function unreachable(message: string, cause: unknown): TransferError {
  return new TransferError('connection-failed', message, { cause });
}
