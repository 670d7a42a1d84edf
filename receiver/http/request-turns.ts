/**
 * One request of a connection at a time. Node hands out all that a client sends without waiting for answers;
 * each would take memory for its answer, whether or not the client reads any.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A client that waits for its answers has one, and another one for a moment when an answer just ended. */
const PIPELINED_MAX = 8;

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

export class RequestTurns {
  readonly #listener: Listener;
  readonly #responseTimeoutMs: number;
  /** Of each connection: the requests that wait, behind the one that is being answered. */
  readonly #waiting = new WeakMap<Socket, (() => void)[]>();

  /**
   * @param listener is given each request in its turn.
   * @param responseTimeoutMs from the end of an answer until the client must have taken it.
   */
  constructor(listener: Listener, responseTimeoutMs: number) {
    this.#listener = listener;
    this.#responseTimeoutMs = responseTimeoutMs;
  }

  take(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { socket } = incoming;
    const waiting = this.#waiting.get(socket);
    if (waiting === undefined) {
      this.#waiting.set(socket, []);
      this.#answer(incoming, outgoing);
    } else if (waiting.length < PIPELINED_MAX) waiting.push(() => this.#answer(incoming, outgoing));
    else socket.destroy();
  }

  #answer(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { socket } = incoming;
    let timer: NodeJS.Timeout | undefined;
    outgoing.once('prefinish', () => {
      timer = setTimeout(() => socket.destroy(), this.#responseTimeoutMs);
    });
    outgoing.once('close', () => {
      clearTimeout(timer);
      const next = socket.destroyed ? undefined : this.#waiting.get(socket)?.shift();
      if (next === undefined) this.#waiting.delete(socket);
      else next();
    });
    this.#listener(incoming, outgoing);
  }
}
