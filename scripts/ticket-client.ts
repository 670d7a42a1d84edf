/** The protocol by hand, as PROTOCOL.md tells it: nothing of the commands' own client is used. */
import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { connect } from 'node:tls';
import type { TransferStatus } from '../common/protocol/protocol.ts';
import { parseTicket, pinOfPublicKey } from '../common/trust/ticket.ts';

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/** Keeps its connections open between requests, as many as were under way at once. */
export class TicketClient implements Disposable {
  readonly #origin: string;
  readonly #token: string;
  readonly #agent: PinnedAgent;

  /** @throws TransferError `usage`. */
  constructor(ticket: string) {
    const { origin, token, pin } = parseTicket(ticket);
    this.#origin = origin;
    this.#token = token;
    this.#agent = new PinnedAgent(pin);
  }

  /** Any HTTP status is an answer. @throws Error of the connection. */
  async request(
    method: string,
    path: string,
    body?: Buffer,
    further: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const length = body === undefined ? {} : { 'content-length': body.length };
    const headers = { authorization: `Bearer ${this.#token}`, ...length, ...further };
    const options = { method, headers, agent: this.#agent };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${this.#origin}${path}`, options).once('response', resolve).once('error', reject).end(body);
    });
    return { status: answer.statusCode ?? 0, body: await buffer(answer) };
  }

  /** `GET /transfer`. @throws Error with the answer unless it is 200. */
  async status(): Promise<TransferStatus> {
    const { status, body } = await this.request('GET', '/transfer');
    if (status !== 200) throw new Error(`GET /transfer answered ${status}: ${body.toString('utf8')}`);
    const transfer: TransferStatus = JSON.parse(body.toString('utf8'));
    return transfer;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** Looks at the receiver's key before a byte of HTTP, and with it the token, is written. */
class PinnedAgent extends Agent {
  readonly #pin: string;

  constructor(pin: string) {
    super({ keepAlive: true, maxCachedSessions: 0 });
    this.#pin = pin;
  }

  override createConnection(...[options, done]: Parameters<Agent['createConnection']>): undefined {
    const { host, port } = options;
    const socket = connect({ host: host ?? '', port: Number(port), rejectUnauthorized: false });
    socket.once('error', (error) => done?.(error, socket));
    socket.once('secureConnect', () => {
      const { publicKey } = new X509Certificate(socket.getPeerX509Certificate()?.raw ?? '');
      if (pinOfPublicKey(publicKey) === this.#pin) done?.(null, socket);
      else socket.destroy(new Error('the receiver has another key than the ticket says'));
    });
    return undefined;
  }
}
