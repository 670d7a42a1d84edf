/**
 * A real ddt-receive over real TLS, and requests from random numbers. After each batch: it is alive, answers
 * in time, has not grown, has closed what was closed, logs whole lines, and the target holds only what the
 * requests could have written.
 */
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { isErrorCode } from '../../common/errors.ts';
import { makeSigningKey, type SigningKey } from '../../common/trust/ssh-signature.ts';
import { badTokensFor } from './bad-tokens.ts';
import { Random } from '../simulation/random.ts';
import { fastTempDir } from '../support/open-transfer.ts';
import { tempDir } from '../support/temp-dir.ts';
import { bounded, startReceiver, until, type Receiver } from '../support/processes.ts';
import { BLOCK_COUNT, CLAIM, FuzzBlocks } from './fuzz-blocks.ts';
import { digestNow } from '../../common/digest/digest.ts';
import { assertShowable } from './parser-property.ts';
import { ReceiverModel } from './receiver-model.ts';
import { RequestGrammar, type FuzzRequest } from './request-grammar.ts';
import { ResponseReader, type RawResponse } from './response-reader.ts';

export interface ReceiverFuzzOptions {
  /** The same seed sends the same requests; how they meet is up to the system. */
  readonly seed: number;
  readonly requests: number;
  /** Of the launchers; default this project's. */
  readonly scripts?: string;
}

export interface ReceiverFuzzResult {
  readonly requests: number;
  /** How many responses there were with each status; 0 for none. */
  readonly statuses: ReadonlyMap<number, number>;
  readonly peakMib: number;
}

/** What did not hold, and the request that was answered wrongly if it was one. */
export class FuzzFailure extends Error {
  readonly request: FuzzRequest | undefined;
  /** Of the round that failed. */
  readonly seed: number;

  constructor(seed: number, cause: unknown) {
    const reason = cause instanceof WrongResponse ? cause.cause : cause;
    super(reason instanceof Error ? reason.message : String(reason), { cause });
    this.seed = seed;
    this.request = cause instanceof WrongResponse ? cause.request : undefined;
  }
}

class WrongResponse extends Error {
  readonly request: FuzzRequest;

  constructor(request: FuzzRequest, cause: unknown) {
    super('a wrong response', { cause });
    this.request = request;
  }
}

const LANES = 8;
/** Of this machine, where connections come from. */
const ADDRESSES = 32;
const BATCH_REQUESTS = 400;
/** One receiver serves so many requests before a new one starts with a new target. */
export const ROUND_REQUESTS = 4000;
/** The last part of a round is sent to a sealed transfer. */
const SEALED_PART = 0.25;
const MEMORY_MIB = 64;
/** The program, TLS, the code that was compiled, and garbage that has not been collected. */
const OTHER_MEMORY_MIB = 400;
/** Sockets of its own, files that are open for a moment, and two threads that read zeros, with ten each. */
const DESCRIPTORS_MORE = 6 + 2 * 10;
const ANSWER_TIMEOUT_MS = 60_000;
/** The server may be waiting for the rest of a garbled request. */
const GARBLED_WAIT_MS = 30;
/** Nothing else may be said; 5xx only by an overloaded receiver, and a full one. */
const STATUSES: readonly number[] = [
  200, 201, 202, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 417, 422, 431, 503, 507,
];
const HEADS_REFUSED: readonly number[] = [400, 408, 417, 431];

export async function fuzzReceiver(options: ReceiverFuzzOptions): Promise<ReceiverFuzzResult> {
  const statuses = new Map<number, number>();
  let peakMib = 0;
  for (let done = 0, seed = options.seed; done < options.requests; done += ROUND_REQUESTS, seed++) {
    const requests = Math.min(ROUND_REQUESTS, options.requests - done);
    await using round = await FuzzRound.start(seed, statuses, options.scripts);
    try {
      await round.run(requests);
    } catch (error) {
      throw new FuzzFailure(seed, error);
    }
    peakMib = Math.max(peakMib, round.peakMib);
  }
  return { requests: options.requests, statuses, peakMib };
}

class FuzzRound implements AsyncDisposable {
  readonly #random: Random;
  readonly #blocks: FuzzBlocks;
  readonly #receiver: Receiver;
  readonly #model: ReceiverModel;
  readonly #statuses: Map<number, number>;
  readonly #badTokens: readonly string[];
  readonly #stack: AsyncDisposableStack;
  #grammar: RequestGrammar;
  #connections = 0;
  #descriptors = Infinity;
  peakMib = 0;

  private constructor(
    seed: number,
    parts: { receiver: Receiver; statuses: Map<number, number>; target: string; key: SigningKey },
    stack: AsyncDisposableStack,
  ) {
    this.#random = new Random(seed);
    this.#blocks = new FuzzBlocks(seed);
    this.#receiver = parts.receiver;
    this.#statuses = parts.statuses;
    this.#model = new ReceiverModel(parts.target, this.#blocks);
    this.#badTokens = badTokensFor(parts.receiver.token, parts.key);
    this.#stack = stack;
    this.#grammar = this.#makeGrammar(false);
  }

  static async start(seed: number, statuses: Map<number, number>, scripts?: string): Promise<FuzzRound> {
    await using stack = new AsyncDisposableStack();
    // The state folder is synced with every flush.
    const folder = stack.use(await fastTempDir());
    const target = join(stack.use(await tempDir()).path, 'target');
    const receiver = stack.use(
      await startReceiver({
        folder: folder.path,
        target,
        options: ['--memory', `${MEMORY_MIB}MiB`],
        ...(scripts === undefined ? {} : { scripts }),
      }),
    );
    const secret = await readFile(join(receiver.stateDir, 'signing-key'), 'utf8');
    const key = makeSigningKey(Buffer.from(secret, 'base64'));
    const claim = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(CLAIM)));
    assert.equal(claim.status, 201);
    return new FuzzRound(seed, { receiver, statuses, target, key }, stack.move());
  }

  #makeGrammar(isSealed: boolean): RequestGrammar {
    const { token } = this.#receiver;
    return new RequestGrammar(this.#random, {
      token,
      badTokens: this.#badTokens,
      blocks: this.#blocks,
      isSealed,
    });
  }

  async run(requests: number): Promise<void> {
    await this.#check();
    this.#descriptors = await this.#countDescriptors();
    const open = Math.ceil(requests * (1 - SEALED_PART));
    for (let sent = 0; sent < open; sent += BATCH_REQUESTS)
      await this.#batch(Math.min(BATCH_REQUESTS, open - sent));
    await this.#seal();
    this.#grammar = this.#makeGrammar(true);
    const rest = requests - open;
    for (let sent = 0; sent < rest; sent += BATCH_REQUESTS)
      await this.#batch(Math.min(BATCH_REQUESTS, rest - sent));
    assert.equal((await this.#receiver.status()).state, 'sealed');
  }

  async #batch(requests: number): Promise<void> {
    const plan = Array.from({ length: requests }, () => this.#grammar.next());
    const lanes = Array.from({ length: LANES }, async () => await this.#lane(plan));
    await Promise.all(lanes);
    await this.#disturb();
    await this.#check();
  }

  /** Requests one after the other on one connection, and on a new one where that has ended. */
  async #lane(plan: FuzzRequest[]): Promise<void> {
    let socket: TLSSocket | undefined;
    let reader: ResponseReader | undefined;
    for (let request = plan.pop(); request !== undefined; request = plan.pop()) {
      if (socket === undefined || reader === undefined || reader.isClosed) {
        socket?.destroy();
        socket = await this.#connect();
        reader = new ResponseReader(socket);
      }
      const isKept = await this.#exchange(request, socket, reader);
      if (isKept) continue;
      socket.destroy();
      socket = undefined;
    }
    socket?.destroy();
  }

  /** From one of many addresses; a receiver may refuse one that has opened too many connections lately. */
  async #connect(): Promise<TLSSocket> {
    const { host, port } = this.#receiver;
    const localAddress = `127.0.0.${1 + (this.#connections++ % ADDRESSES)}`;
    const options = { host, port, localAddress, rejectUnauthorized: false };
    let found: TLSSocket | undefined;
    await until(
      'a TLS connection',
      async () => {
        const socket = connect(options);
        const { promise, resolve } = Promise.withResolvers<boolean>();
        socket.once('secureConnect', () => resolve(true)).on('error', () => resolve(false));
        socket.once('close', () => resolve(false));
        if (await promise) found = socket;
        return found !== undefined;
      },
      ANSWER_TIMEOUT_MS,
    );
    assert(found !== undefined);
    return found;
  }

  /** @returns whether the connection can be used again. */
  async #exchange(request: FuzzRequest, socket: TLSSocket, reader: ResponseReader): Promise<boolean> {
    this.#model.mayWrite(request);
    socket.write(request.bytes);
    const { isGarbled, method } = request;
    const timeoutMs = isGarbled ? GARBLED_WAIT_MS : ANSWER_TIMEOUT_MS;
    try {
      const response = await reader.next(isGarbled ? headOf(request) : method, timeoutMs);
      this.#count(response?.status ?? 0);
      if (response === undefined) {
        assert(isGarbled || reader.isClosed, `no response within ${ANSWER_TIMEOUT_MS / 1000} s`);
        // A refusal may be lost when the connection is reset: the body was on its way.
        assert(isGarbled || request.outcome !== 'accepted', 'closed without a response');
        return false;
      }
      this.#judge(request, response);
      return !isGarbled && response.headers.get('connection') !== 'close';
    } catch (error) {
      throw new WrongResponse(request, error);
    }
  }

  #count(status: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }

  #judge(request: FuzzRequest, response: RawResponse): void {
    const { status, headers, body } = response;
    assert(STATUSES.includes(status), `status ${status}: ${body.toString('utf8', 0, 300)}`);
    const isGood = status < 300;
    if (headers.get('content-type') === 'application/problem+json' && body.length > 0) {
      const problem = JSON.parse(body.toString('utf8')) as { code: unknown; status: unknown };
      assert(isErrorCode(problem.code) && problem.status === status, body.toString('utf8'));
      if (problem.code === 'busy' || problem.code === 'in-use') return;
    } else assert(isGood || request.method === 'HEAD' || HEADS_REFUSED.includes(status), `a bare ${status}`);
    if (request.outcome === 'accepted')
      assert(isGood, `refused: ${status}: ${body.toString('utf8', 0, 300)}`);
    if (request.outcome === 'refused') assert(!isGood, `accepted: ${status}`);
    if (isGood) this.#model.wrote(request);
  }

  /** What is not TLS, half a handshake, and a request that is cut anywhere. */
  async #disturb(): Promise<void> {
    const { host, port } = this.#receiver;
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from('160301', 'hex'),
      Buffer.alloc(600, 22),
    ]) {
      const socket = connectTcp({ host, port });
      await new Promise((resolve) => {
        socket.once('close', resolve).on('error', resolve);
        socket.write(bytes, resolve);
      });
      socket.destroy();
    }
    const cut = this.#grammar.next();
    this.#model.mayWrite(cut);
    const socket = await this.#connect();
    await new Promise((resolve) =>
      socket.write(cut.bytes.subarray(0, this.#random.below(cut.bytes.length)), resolve),
    );
    socket.end();
    await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
  }

  async #check(): Promise<void> {
    const { process } = this.#receiver;
    assert(process.isRunning, `ddt-receive has ended: ${process.stderr.slice(-2000)}`);
    const health = await bounded('/health', this.#receiver.request('GET', '/health'), ANSWER_TIMEOUT_MS);
    assert.equal(health.status, 200);
    await until(
      'connections to be closed',
      async () => (await this.#countDescriptors()) <= this.#descriptors + DESCRIPTORS_MORE,
    );
    const memoryMib = await this.#memoryMib();
    this.peakMib = Math.max(this.peakMib, memoryMib);
    assert(memoryMib < MEMORY_MIB + OTHER_MEMORY_MIB, `ddt-receive uses ${memoryMib} MiB`);
    for (const line of `${process.stdout}${process.stderr}`.split('\n')) {
      assertShowable(line);
      assert.doesNotMatch(line, /bug: /, process.stderr.slice(-2000));
    }
    await this.#compare();
  }

  /** Requests of connections that were cut may still be running: a flush waits for none of them. */
  async #compare(): Promise<void> {
    const { client } = this.#receiver;
    let listing = '';
    await until('writes to settle', async () => {
      const text = (
        await client.request('GET', '/blocks', undefined, { accept: 'text/plain' })
      ).body.toString();
      const isSettled = text === listing;
      listing = text;
      return isSettled && !(await this.#receiver.request('POST', '/flush')).body.includes('"error"');
    });
    await this.#model.compare(listing);
  }

  /** Every block is written once more, without unreadable areas, and the transfer is sealed. */
  async #seal(): Promise<void> {
    const digests: Buffer[] = [];
    for (let index = 0; index < BLOCK_COUNT; index++) {
      const { bytes, hex } = this.#blocks.of(index, 1 + (index % 3));
      const write = { writes: [[index, hex]], strays: [] } as unknown as FuzzRequest;
      this.#model.mayWrite(write);
      const { status, body } = await this.#receiver.request(
        'PUT',
        `/blocks/${index}?flush=n&digest=sha256:${hex}`,
        bytes,
      );
      assert(status === 202, body.toString());
      this.#model.wrote(write);
      digests.push(Buffer.from(hex, 'hex'));
    }
    const root = `sha256:${digestNow(Buffer.concat(digests)).toString('hex')}`;
    const request = Buffer.from(JSON.stringify({ blockCount: BLOCK_COUNT, root }));
    await until('the seal', async () => {
      const { status, body } = await this.#receiver.request('POST', '/complete', request);
      assert(status === 200 || status === 202, body.toString());
      return status === 200;
    });
    await this.#check();
  }

  async #countDescriptors(): Promise<number> {
    return (await readdir(`/proc/${this.#receiver.process.pid}/fd`)).length;
  }

  async #memoryMib(): Promise<number> {
    const status = await readFile(`/proc/${this.#receiver.process.pid}/status`, 'utf8');
    return Math.round(Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]) / 1024);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Of a garbled request the method may have become another one. */
function headOf({ bytes }: FuzzRequest): string {
  // Empty lines before a request are skipped (RFC 9112, section 2.2).
  return /^(\r?\n)*HEAD /.test(bytes.toString('latin1', 0, 64)) ? 'HEAD' : 'GET';
}
