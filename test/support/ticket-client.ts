/** The protocol by hand, written from PROTOCOL.md: it shares no code with the sender's client. */
import { X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { connect } from 'node:tls';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { parseTicket, pinOfPublicKey } from '../../common/trust/ticket.ts';

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Keeps its connections open between requests, as many as were in flight at once. */
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

  /** Resolves whatever the HTTP status. @throws Error of the connection. */
  async request(
    method: string,
    path: string,
    body?: Buffer,
    further: Readonly<Record<string, string>> = {},
  ): Promise<HttpResponse> {
    const length = body === undefined ? {} : { 'content-length': body.length };
    const headers = { authorization: `Bearer ${this.#token}`, ...length, ...further };
    const options = { method, headers, agent: this.#agent };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${this.#origin}${path}`, options).once('response', resolve).once('error', reject).end(body);
    });
    const { statusCode = 0, headers: received } = response;
    return { status: statusCode, headers: received, body: await buffer(response) };
  }

  /** `GET /transfer`. @throws Error with the response unless its status is 200. */
  async status(): Promise<TransferStatus> {
    const { status, body } = await this.request('GET', '/transfer');
    if (status !== 200) throw new Error(`GET /transfer returned ${status}: ${body.toString('utf8')}`);
    const transfer: TransferStatus = JSON.parse(body.toString('utf8'));
    return transfer;
  }

  /** Blocks that would survive a crash. */
  async durableCount(): Promise<number> {
    const { durable, verified } = (await this.status()).blocks;
    return durable + verified;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** Checks the receiver's key before it writes the request: the token must not reach another machine. */
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
      else socket.destroy(new Error('the receiver has another key than the ticket names'));
    });
    return undefined;
  }
}
