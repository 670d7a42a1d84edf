/** A receiver in this process that answers right, or in random wrong ways; it remembers what it was sent. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { systemClock } from '../../common/clock.ts';
import { ERROR_CODES, type ErrorCode } from '../../common/errors.ts';
import { armorSshsig, makeSigningKey, publicKeyLine, signSsh } from '../../common/trust/ssh-signature.ts';
import { formatTicket } from '../../common/trust/ticket.ts';
import { mintToken } from '../../common/trust/token.ts';
import { loadOrMakeIdentity } from '../../receiver/identity/certificate.ts';
import type { Random } from '../simulation/random.ts';
import type { ProveRequest } from '../../common/protocol/protocol.ts';
import { STATUS } from '../support/transfer-status.ts';
import { hexOf } from './fuzz-blocks.ts';
import { NASTY_TEXTS, NASTY_VALUES, NESTED, applyEdit, changedJson } from './mutations.ts';

export const LIE_BLOCK_BYTES = 65_536;
const HOST = '127.0.0.1';
const RECEIPT_NAMESPACE = 'ddt-receipt-v1@dd-transfer';
const TRANSFER = 'aa1efd11-b91c-4de8-8fca-faa17d7f5801';
const KEY = makeSigningKey(Buffer.alloc(32, 5));
/** Also those that never travel. */
const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
const ODD_STATUSES = [200, 201, 202, 204, 206, 302, 304, 400, 401, 403, 404, 409, 418, 500, 503] as const;
const ODD_NUMBERS = ['', '-1', '0', '1e400', '9'.repeat(30), 'NaN', '\u00ff', '5, 6'] as const;
/** None that asks for more patience than a test has. */
const RETRY_AFTER = ['0', '1', '-5', '1e-9', 'soon'] as const;

/** A right answer, before it is falsified. */
interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

export class LyingReceiver implements AsyncDisposable {
  readonly ticket: string;
  /** Digests of the blocks that were sent, whole. */
  readonly received = new Map<number, string>();
  /** Of the last request to seal. */
  root: string | undefined;
  readonly #server: Server;
  readonly #random: Random;
  readonly #lieShare: number;
  readonly #size: number;
  readonly #bytes = new Map<number, Buffer>();
  #isClaimed = false;
  #generation = 1;

  private constructor(server: Server, options: LieOptions, ticket: string) {
    this.#server = server;
    this.#random = options.random;
    this.#lieShare = options.lieShare;
    this.#size = options.sizeBytes;
    this.ticket = ticket;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** @param folder of its keys. */
  static async start(folder: string, options: LieOptions): Promise<LyingReceiver> {
    const { certificatePem, keyPem, pin } = await loadOrMakeIdentity(folder);
    const server = createServer({ cert: certificatePem, key: keyPem, minVersion: 'TLSv1.3' });
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    server.on('clientError', (_error, socket) => socket.destroy());
    await once(server.listen(0, HOST), 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const iat = Math.floor(systemClock.wallMs() / 1000);
    const token = mintToken({ v: 1, aud: pin, tid: TRANSFER, scope: ['write'], iat, exp: iat + 3600 }, KEY);
    return new LyingReceiver(server, options, formatTicket({ host: HOST, port: address.port, pin, token }));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const answer = this.#right(request, body);
    answer.headers = { ...this.#commonHeaders(), ...answer.headers };
    const isLie = this.#random.chance(this.#lieShare);
    if (isLie && this.#random.chance(0.35)) return this.#misbehave(answer, response);
    if (isLie) this.#falsify(answer);
    response.writeHead(answer.status, { 'content-length': answer.body.length, ...answer.headers });
    response.end(answer.body);
  }

  #commonHeaders(): Record<string, string> {
    return {
      'ddt-epoch': 'an-epoch',
      'ddt-durable-generation': String(this.#generation),
      'ddt-verified-count': '0',
    };
  }

  #right(request: IncomingMessage, body: Buffer): Answer {
    const { method = '', url = '' } = request;
    const [path = ''] = url.split('?');
    const index = Number(/^\/blocks\/(\d+)$/.exec(path)?.[1] ?? NaN);
    if (path === '/transfer' || path === '/verify') return this.#status(method === 'PUT');
    if (path === '/blocks') return this.#listing(url);
    if (method === 'PUT') return this.#put(index, body);
    if (path === '/zero') return this.#zero(body);
    if (path === '/complete') return this.#complete(body);
    if (path === '/prove') return this.#prove(body);
    if (path === '/flush' || path === '/reopen') return json({ epoch: 'an-epoch', durableGeneration: 1 });
    return problem('block-absent', this.#random);
  }

  #status(isClaim: boolean): Answer {
    this.#isClaimed ||= isClaim;
    const size = { size: this.#size, blockSize: LIE_BLOCK_BYTES, blockCount: this.#blockCount };
    const none = { size: null, blockSize: null, blockCount: null, digest: null, source: null };
    const claimed = this.#isClaimed ? { ...size, state: 'open' } : { ...none, state: 'unclaimed' };
    const unclaimed = { transferId: TRANSFER, targetMarks: { itself: [], within: [] }, digests: ['sha-256'] };
    return json({ ...STATUS, ...unclaimed, ...claimed });
  }

  get #blockCount(): number {
    return Math.ceil(this.#size / LIE_BLOCK_BYTES);
  }

  #listing(url: string): Answer {
    const count = Number(/count=(\d+)/.exec(url)?.[1] ?? 0);
    return { status: 200, headers: {}, body: Buffer.alloc(count * 32) };
  }

  #prove(body: Buffer): Answer {
    const { nonce, areas } = JSON.parse(body.toString()) as ProveRequest;
    const digests = areas.map(([offset, length]) => {
      const at = offset % LIE_BLOCK_BYTES;
      const bytes = this.#bytes.get(Math.floor(offset / LIE_BLOCK_BYTES))?.subarray(at, at + length);
      return hexOf(Buffer.concat([Buffer.from(nonce), bytes ?? Buffer.alloc(0)]));
    });
    return json({ transferId: TRANSFER, nonce, areas, digests });
  }

  #put(index: number, body: Buffer): Answer {
    this.received.set(index, hexOf(body));
    this.#bytes.set(index, body);
    const place = { index, offset: index * LIE_BLOCK_BYTES, length: body.length };
    return json({ ...this.#written(), ...place, sha256: hexOf(body) }, 202);
  }

  #zero(body: Buffer): Answer {
    const { ranges } = JSON.parse(body.toString()) as { ranges: [number, number][] };
    for (const [first, count] of ranges) {
      for (let index = first; index < first + count; index++) {
        const length = Math.min(LIE_BLOCK_BYTES, this.#size - index * LIE_BLOCK_BYTES);
        this.received.set(index, hexOf(Buffer.alloc(length)));
      }
    }
    return json({ ...this.#written(), ranges }, 202);
  }

  #written(): object {
    return { transferId: TRANSFER, epoch: 'an-epoch', state: 'written', generation: ++this.#generation };
  }

  #complete(body: Buffer): Answer {
    const { root } = JSON.parse(body.toString()) as { root: string };
    this.root = root;
    if (this.#random.chance(0.2)) return json({ state: 'verifying', verified: 1, blockCount: 1 }, 202);
    const text = JSON.stringify({
      v: 1,
      transferId: TRANSFER,
      size: this.#size,
      blockSize: LIE_BLOCK_BYTES,
      blockCount: this.#blockCount,
      digest: 'sha-256',
      root,
      verified: 'read-back',
      readBack: 'direct',
      unreadable: [],
      sealedAt: '2026-11-28T22:30:05.000Z',
      verifiedAt: '2026-11-28T22:30:05.000Z',
      generation: 1,
      previous: null,
      target: STATUS.target,
      source: null,
      receiverKey: publicKeyLine(KEY.publicKey, 'ddt-receive'),
    });
    const signature = armorSshsig(signSsh(KEY, RECEIPT_NAMESPACE, Buffer.from(text)));
    return json({ receipt: JSON.parse(text), text, signature });
  }

  /** HTTP all the same. */
  #falsify(answer: Answer): void {
    const random = this.#random;
    switch (random.below(6)) {
      case 0:
        Object.assign(answer, problem(random.pick(CODES as [ErrorCode, ...ErrorCode[]]), random));
        break;
      case 1:
        answer.status = random.pick(ODD_STATUSES);
        break;
      case 2: {
        const name = random.pick(['ddt-durable-generation', 'ddt-verified-count', 'ddt-generation']);
        answer.headers[name] = random.pick(ODD_NUMBERS);
        break;
      }
      case 3:
        answer.headers['ddt-epoch'] = random.pick(['', 'another-epoch', '\u009b31m']);
        break;
      default:
        answer.body = this.#changed(answer.body);
    }
  }

  #changed(body: Buffer): Buffer {
    const random = this.#random;
    const at = random.below(0xffff);
    const kind = random.pick<'replace' | 'drop' | 'double'>(['replace', 'drop', 'double']);
    try {
      const value = random.chance(0.1) ? NESTED : random.pick(NASTY_VALUES);
      return Buffer.from(changedJson(JSON.parse(body.toString()), [{ kind, at, value }]));
    } catch {
      const text = random.pick(NASTY_TEXTS);
      const edit = { kind: 'insert', at, length: 1, text } as const;
      return Buffer.from(applyEdit(body.toString('latin1'), edit), 'latin1');
    }
  }

  /** Bytes that no server sends, or too few, or too many. */
  #misbehave({ status, headers, body }: Answer, response: ServerResponse): void {
    const { socket } = response;
    if (socket === null) return;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = `HTTP/1.1 ${status} X\r\n${lines.join('')}`;
    const endings = [
      '',
      'HTTP/1.1 ',
      '\0\0\0\0',
      '\u0016\u0003\u0001',
      `${head}content-length: ${body.length}\r\n\r\n`,
      `${head}content-length: ${body.length + 1}\r\n\r\n${body.toString('latin1')}`,
      `${head}content-length: 99999999999999999999\r\n\r\n{}`,
      `${head}content-length: 5\r\ncontent-length: 6\r\n\r\n{}`,
      `${head}transfer-encoding: chunked\r\n\r\nzz\r\n{}`,
      `${head}x: ${'y'.repeat(100_000)}\r\n\r\n`,
      `HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n`,
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n`,
      `HTTP/1.1 102 Processing\r\n\r\n${head}content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n`,
      `HTTP/9.9 200 OK\r\n\r\n`,
      `HTTP/1.1 99999 \r\n\r\n`,
    ] as const;
    socket.end(Buffer.from(this.#random.pick(endings), 'latin1'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

export interface LieOptions {
  readonly random: Random;
  /** Of the answers, in [0, 1]. */
  readonly lieShare: number;
  /** Of the source. */
  readonly sizeBytes: number;
}

function json(value: object, status = 200): Answer {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(value)),
  };
}

function problem(code: ErrorCode, random: Random): Answer {
  const { status } = ERROR_CODES[code];
  const hint = random.pick(['try again', '\u001b[2J\u202e', 'x'.repeat(3000)]);
  const missing = random.pick<unknown>([[[0, 1]], [[0, 99]], 'all', undefined]);
  const text = JSON.stringify({
    status,
    code,
    detail: `it failed; ${hint}`,
    hint,
    missing,
    differentCount: 1,
  });
  const headers = { 'content-type': 'application/problem+json', 'retry-after': random.pick(RETRY_AFTER) };
  return { status, headers, body: Buffer.from(text) };
}
