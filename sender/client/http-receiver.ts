/**
 * One connection to the receiver, one method per request of the protocol. No retries here, and none below:
 * undici's own are not installed, redirects are not followed, proxies are not asked.
 */
import type { Socket } from 'node:net';
import { Client, type Dispatcher } from 'undici';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { blockCountOf } from '../../common/geometry.ts';
import {
  HEADER_BLOCK_STATE,
  HEADER_DURABLE_GENERATION,
  HEADER_EPOCH,
  HEADER_GENERATION,
  HEADER_SENDER,
  HEADER_SOURCE_ERRORS,
  HEADER_VERIFIED_COUNT,
  TYPE_DIGESTS,
  type Claim,
} from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';
import type { Ticket } from '../../common/trust/ticket.ts';
import { bodyOf } from './connection/body-chunks.ts';
import { makeConnector } from './connection/connector.ts';
import type { BodyPacer } from '../bandwidth/body-pacer.ts';
import type { Reachability } from './connection/reachability.ts';
import { putRequestOf } from './put-request.ts';
import { parseBlockResult, parseHead, parseSeal, parseZeroResult } from './responses.ts';
import { parseClaimResponse, parseTransferStatus } from './status-response.ts';
import { isCount } from './answer-values.ts';
import { failureOf, type HttpResponse } from './problem.ts';
import type { BlockHead, OutgoingBlock, ReceiverClient, ResponseInfo, SealRequest } from './receiver-port.ts';
import { AcknowledgedBytes, type UnackedBytes } from './connection/unacked-bytes.ts';
import { StallWatch, STALL_MS, standstillOf } from './connection/stall-watch.ts';

/** Flushing or zeroing on a slow disk may take minutes in which no byte moves. */
const PATIENT_STALL_MS = 600_000;
/** The largest answer is a block of the largest size. */
const REPLY_BYTES_MAX = 16 * 1024 * 1024;
/** Longer than a slow source takes to read a block, shorter than the receiver keeps an idle connection. */
const KEEP_ALIVE_MS = 60_000;

interface RequestOptions {
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
  readonly signal: AbortSignal;
  readonly answerMs?: number;
}

export interface HttpReceiverOptions {
  readonly ticket: Ticket;
  /** This, `queues`, `probe` and `pacer` are the same for all connections of a run. */
  readonly senderId: string;
  readonly queues: UnackedBytes;
  readonly probe: Reachability;
  readonly onResponse: (info: ResponseInfo) => void;
  /** None, no limit. */
  readonly pacer?: BodyPacer | undefined;
}

export class HttpReceiver implements ReceiverClient {
  readonly #client: Client;
  readonly #address: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #onResponse: (info: ResponseInfo) => void;
  readonly #pacer: BodyPacer | undefined;
  #socket: Socket | undefined;
  readonly #queues: UnackedBytes;
  readonly #probe: Reachability;
  readonly #watches = new Set<StallWatch>();
  readonly #arrived: AcknowledgedBytes;
  #closedBytes = 0;

  constructor(options: HttpReceiverOptions) {
    this.#pacer = options.pacer;
    this.#queues = options.queues;
    this.#probe = options.probe;
    this.#arrived = new AcknowledgedBytes(options.queues);
    this.#headers = { authorization: `Bearer ${options.ticket.token}`, [HEADER_SENDER]: options.senderId };
    this.#onResponse = options.onResponse;
    this.#address = options.ticket.origin.replace('https://', '');
    this.#client = new Client(options.ticket.origin, {
      connect: makeConnector(options.ticket.pin, (socket) => this.#adopt(socket)),
      allowH2: false,
      pipelining: 1,
      // Both end slow lines; the progress of the connection is watched instead.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxResponseSize: REPLY_BYTES_MAX,
    });
  }

  get bytesWire(): number {
    return this.#closedBytes + (this.#socket?.bytesWritten ?? 0);
  }

  get isConnected(): boolean {
    return this.#socket !== undefined;
  }

  get acknowledgedBytes(): number {
    return this.#arrived.bytes;
  }

  get standstillMs(): number | undefined {
    return standstillOf(this.#watches);
  }

  async look(): Promise<void> {
    await this.#arrived.look();
  }

  async transfer(signal: AbortSignal): ReturnType<ReceiverClient['transfer']> {
    return parseTransferStatus(await this.#request({ method: 'GET', path: '/transfer', signal }));
  }

  async claim(claim: Claim, signal: AbortSignal): ReturnType<ReceiverClient['claim']> {
    return parseClaimResponse(await this.#postJson('PUT', '/transfer', claim, signal), claim);
  }

  async listDigests(from: number, count: number, signal: AbortSignal): Promise<Buffer> {
    const path = `/blocks?from=${from}&count=${count}`;
    const { body } = await this.#request({ method: 'GET', path, headers: { accept: TYPE_DIGESTS }, signal });
    if (body.length === count * DIGEST_BYTES) return body;
    throw new TransferError('bad-answer', `the listing of ${count} blocks came with ${body.length} bytes`);
  }

  async headBlock(index: number, signal: AbortSignal): Promise<BlockHead | 'absent'> {
    const reply = await this.#send({ method: 'HEAD', path: `/blocks/${index}`, signal });
    if (reply.status === 404) return 'absent';
    if (reply.status !== 200) throw failureOf(reply, `HEAD /blocks/${index}`);
    const { header } = reply;
    return parseHead({
      etag: header('etag'),
      state: header(HEADER_BLOCK_STATE),
      generation: header(HEADER_GENERATION),
      epoch: header(HEADER_EPOCH),
      sourceErrors: header(HEADER_SOURCE_ERRORS),
    });
  }

  async readBlock(index: number, signal: AbortSignal): Promise<Buffer> {
    return (await this.#request({ method: 'GET', path: `/blocks/${index}`, signal })).body;
  }

  async putBlock(block: OutgoingBlock, signal: AbortSignal): ReturnType<ReceiverClient['putBlock']> {
    const { index, bytes, digest, algorithm } = block;
    const path = `/blocks/${index}?flush=n`;
    const reply = await this.#request({ method: 'PUT', path, ...putRequestOf(block), signal });
    return parseBlockResult(reply, { index, lengthBytes: bytes.length, digest, algorithm });
  }

  async zero(ranges: readonly Range[], signal: AbortSignal): ReturnType<ReceiverClient['zero']> {
    return parseZeroResult(await this.#postJson('POST', '/zero?flush=n', { ranges }, signal), ranges);
  }

  async flush(signal: AbortSignal): Promise<void> {
    await this.#request({ method: 'POST', path: '/flush', signal, answerMs: PATIENT_STALL_MS });
  }

  async complete(request: SealRequest, signal: AbortSignal): ReturnType<ReceiverClient['complete']> {
    const { geometry, root } = request;
    const body = { blockCount: blockCountOf(geometry), root: `sha256:${root.toString('hex')}` };
    const reply = await this.#postJson('POST', '/complete', body, signal);
    return reply.status === 202 ? 'verifying' : parseSeal(reply, request);
  }

  async reopen(signal: AbortSignal): Promise<void> {
    await this.#request({ method: 'POST', path: '/reopen', signal });
  }

  async close(): Promise<void> {
    await this.#client.destroy();
  }

  #adopt(socket: Socket): void {
    this.#socket = socket;
    this.#arrived.adopt(socket);
    socket.once('close', () => {
      this.#closedBytes += socket.bytesWritten;
      if (this.#socket === socket) this.#socket = undefined;
    });
  }

  async #postJson(
    method: 'PUT' | 'POST',
    path: string,
    value: object,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify(value);
    return await this.#request({ method, path, headers, body, signal, answerMs: PATIENT_STALL_MS });
  }

  /** @throws TransferError by the problem's code for every answer that is not 2xx. */
  async #request(options: RequestOptions): Promise<HttpResponse> {
    const reply = await this.#send(options);
    if (reply.status >= 200 && reply.status < 300) return reply;
    throw failureOf(reply, `${options.method} ${options.path}`);
  }

  async #send(options: RequestOptions): Promise<HttpResponse> {
    using paced = Buffer.isBuffer(options.body)
      ? await this.#pacer?.enter(options.body, options.signal)
      : undefined;
    const stall = new AbortController();
    using watch = this.#watch(options.answerMs ?? STALL_MS, stall);
    this.#watches.add(watch);
    try {
      const { statusCode, headers, body } = await this.#client.request({
        method: options.method,
        path: options.path,
        headers: { ...this.#headers, ...options.headers, ...paced?.headers },
        body: bodyOf(options.body, paced?.pieces),
        signal: AbortSignal.any([options.signal, stall.signal]),
        // undici closes the connection after every HEAD otherwise.
        reset: false,
      });
      const header = (name: string): string | undefined => [headers[name]].flat()[0];
      const bytes = Buffer.from(await body.arrayBuffer());
      this.#report(header);
      return { status: statusCode, header, body: bytes };
    } catch (error) {
      if (error instanceof TransferError) throw error;
      const message = `cannot reach the receiver at ${this.#address}: ${reasonOf(error)}`;
      throw new TransferError('connection-failed', message, { cause: error });
    } finally {
      this.#watches.delete(watch);
    }
  }

  #watch(answerMs: number, stall: AbortController): StallWatch {
    return new StallWatch({
      queues: this.#queues,
      socketNow: () => this.#socket,
      answerMs,
      isReachable: async () => await this.#probe.isReachable(),
      onStall: (error) => stall.abort(error),
    });
  }

  #report(header: (name: string) => string | undefined): void {
    const epoch = header(HEADER_EPOCH);
    const durableGeneration = Number(header(HEADER_DURABLE_GENERATION));
    const verifiedCount = Number(header(HEADER_VERIFIED_COUNT) ?? 0);
    if (epoch === undefined || !isCount(durableGeneration) || !isCount(verifiedCount)) return;
    this.#onResponse({ epoch, durableGeneration, verifiedCount });
  }
}
