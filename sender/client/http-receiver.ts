/**
 * One connection to the receiver, one method for each request of the protocol. Nothing is retried here or
 * below: undici's retries are not installed, redirects are not followed, proxies are not used.
 */
import type { Socket } from 'node:net';
import { Client, type Dispatcher } from 'undici';
import { formatAreas } from '../../common/areas.ts';
import { systemClock } from '../../common/clock.ts';
import { DIGEST_NAMES, digestField } from '../../common/digest/digest-names.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
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
  type ProveRequest,
} from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';
import type { Ticket } from '../../common/trust/ticket.ts';
import { bodyOf } from './connection/body-chunks.ts';
import { makeConnector, protocolMissingBy, type Dial } from './connection/connector.ts';
import type { BodyPacer } from '../bandwidth/body-pacer.ts';
import type { Reachability } from './connection/reachability.ts';
import { badResponse, failureOf, isCount, type HttpResponse } from './response-fields.ts';
import { refuseOtherSigner } from './receipt-signature.ts';
import {
  parseBlockResult,
  parseHead,
  parseProof,
  parseReadRate,
  parseSeal,
  parseZeroResult,
} from './responses.ts';
import { parseClaimResponse, parseTransferStatus } from './status-response.ts';
import type { BlockHead, OutgoingBlock, ReceiverClient, ResponseInfo, SealRequest } from './receiver-port.ts';
import { AcknowledgedBytes, type UnackedBytes } from './connection/unacked-bytes.ts';
import { StallWatch, STALL_MS, standstillOf } from './connection/stall-watch.ts';

/** Flushing or zeroing a slow disk may take minutes in which no byte moves. */
const PATIENT_STALL_MS = 600_000;
/** The largest response is a block of the largest size. */
const REPLY_BYTES_MAX = 16 * 1024 * 1024;
/** The longest lists have 4096 ranges or areas: about 120 KB, twice that within a receipt. */
const JSON_REPLY_BYTES_MAX = 1024 * 1024;
/** Of a response, beside its body; more than a connection brings before it, such as the handshake. */
const REPLY_EXTRA_BYTES_MAX = 256 * 1024;
/** Responses before the final one (1xx). A receiver sends none. */
const INTERIM_RESPONSES_MAX = 8;
/**
 * Longer than a slow source takes to read a block, shorter than the receiver keeps an idle connection open.
 */
const KEEP_ALIVE_MS = 60_000;

interface RequestOptions {
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
  readonly signal: AbortSignal;
  readonly responseMsMax?: number;
  /** Default {@link JSON_REPLY_BYTES_MAX}. */
  readonly replyBytesMax?: number;
}

export interface HttpReceiverOptions {
  readonly ticket: Ticket;
  /** This, `unacked`, `reachability` and `pacer` are the same for all connections of a run. */
  readonly senderId: string;
  readonly unacked: UnackedBytes;
  readonly reachability: Reachability;
  readonly onResponse: (info: ResponseInfo) => void;
  /** undefined: by TCP to the address in the ticket. */
  readonly dial?: Dial | undefined;
  /** undefined: no rate limit. */
  readonly pacer?: BodyPacer | undefined;
  /** Instead of {@link STALL_MS} and of the interval in which it is measured; for tests. */
  readonly stall?: { readonly responseMsMax: number; readonly lookIntervalMs: number };
}

export class HttpReceiver implements ReceiverClient {
  readonly #client: Client;
  readonly #ticket: Ticket;
  readonly #address: string;
  /** Somebody else knows the way, and looks after the receiver. */
  readonly #isDialled: boolean;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #onResponse: (info: ResponseInfo) => void;
  readonly #pacer: BodyPacer | undefined;
  readonly #stall: HttpReceiverOptions['stall'];
  #socket: Socket | undefined;
  readonly #unacked: UnackedBytes;
  readonly #reachability: Reachability;
  readonly #watches = new Set<StallWatch>();
  readonly #acknowledged: AcknowledgedBytes;
  #closedBytes = 0;

  constructor(options: HttpReceiverOptions) {
    this.#ticket = options.ticket;
    this.#pacer = options.pacer;
    this.#stall = options.stall;
    this.#unacked = options.unacked;
    this.#reachability = options.reachability;
    this.#acknowledged = new AcknowledgedBytes(options.unacked);
    this.#headers = { authorization: `Bearer ${options.ticket.token}`, [HEADER_SENDER]: options.senderId };
    this.#onResponse = options.onResponse;
    this.#isDialled = options.dial !== undefined;
    this.#address = this.#isDialled ? options.ticket.host : options.ticket.origin.replace('https://', '');
    this.#client = new Client(options.ticket.origin, {
      connect: makeConnector(options.ticket.pin, (socket) => this.#adopt(socket), options.dial),
      allowH2: false,
      pipelining: 1,
      // Both would end requests on slow lines; a stall watch does it by progress.
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
    return this.#acknowledged.bytes;
  }

  get standstillMs(): number | undefined {
    return standstillOf(this.#watches);
  }

  async refreshAcknowledged(): Promise<void> {
    await this.#acknowledged.refresh();
  }

  async transfer(signal: AbortSignal): ReturnType<ReceiverClient['transfer']> {
    return parseTransferStatus(await this.#request({ method: 'GET', path: '/transfer', signal }));
  }

  async claim(claim: Claim, signal: AbortSignal): ReturnType<ReceiverClient['claim']> {
    return parseClaimResponse(await this.#postJson('PUT', '/transfer', claim, signal), claim);
  }

  async listDigests(from: number, count: number, signal: AbortSignal): Promise<Buffer> {
    const path = `/blocks?from=${from}&count=${count}`;
    const headers = { accept: TYPE_DIGESTS };
    const replyBytesMax = count * DIGEST_BYTES;
    const { body } = await this.#request({ method: 'GET', path, headers, signal, replyBytesMax });
    if (body.length === count * DIGEST_BYTES) return body;
    throw badResponse(`a listing of ${count} blocks in ${body.length} bytes`);
  }

  async headBlock(index: number, signal: AbortSignal): Promise<BlockHead | 'absent'> {
    const response = await this.#send({ method: 'HEAD', path: `/blocks/${index}`, signal });
    if (response.status === 404) return 'absent';
    // The response to a HEAD cannot say why; one to a GET can.
    if (response.status === 401) await this.transfer(signal);
    if (response.status !== 200) throw failureOf(response, `HEAD /blocks/${index}`, this.#ticket);
    const { header } = response;
    return parseHead({
      etag: header('etag'),
      state: header(HEADER_BLOCK_STATE),
      generation: header(HEADER_GENERATION),
      epoch: header(HEADER_EPOCH),
      sourceErrors: header(HEADER_SOURCE_ERRORS),
    });
  }

  async readBlock(index: number, signal: AbortSignal): Promise<Buffer> {
    const replyBytesMax = REPLY_BYTES_MAX;
    return (await this.#request({ method: 'GET', path: `/blocks/${index}`, signal, replyBytesMax })).body;
  }

  async putBlock(block: OutgoingBlock, signal: AbortSignal): ReturnType<ReceiverClient['putBlock']> {
    const { index, bytes, digest, algorithm } = block;
    const path = `/blocks/${index}?flush=n`;
    const response = await this.#request({ method: 'PUT', path, ...putRequestOf(block), signal });
    return parseBlockResult(response, { index, lengthBytes: bytes.length, digest, algorithm });
  }

  async copyBlock(
    { index, bytes, digest, algorithm }: OutgoingBlock,
    from: number | undefined,
    signal: AbortSignal,
  ): ReturnType<ReceiverClient['copyBlock']> {
    const body = JSON.stringify({
      from,
      to: index,
      digest: `${DIGEST_NAMES[algorithm]}:${digest.toString('hex')}`,
    });
    const headers = { 'content-type': 'application/json' };
    // Not as patient as other JSON requests: the block can be sent instead.
    const response = await this.#request({ method: 'POST', path: '/copy?flush=n', headers, body, signal });
    return parseBlockResult(response, { index, lengthBytes: bytes.length, digest, algorithm });
  }

  async zero(ranges: readonly Range[], signal: AbortSignal): ReturnType<ReceiverClient['zero']> {
    return parseZeroResult(await this.#postJson('POST', '/zero?flush=n', { ranges }, signal), ranges);
  }

  async flush(signal: AbortSignal): Promise<void> {
    await this.#request({ method: 'POST', path: '/flush', signal, responseMsMax: PATIENT_STALL_MS });
  }

  async complete(request: SealRequest, signal: AbortSignal): ReturnType<ReceiverClient['complete']> {
    const { geometry, root, leftOut } = request;
    const omitted = leftOut === null ? {} : { leftOut };
    const digest = `sha256:${root.toString('hex')}`;
    const body = { blockCount: blockCountOf(geometry), root: digest, ...omitted };
    const response = await this.#postJson('POST', '/complete', body, signal);
    if (response.status === 202) return 'verifying';
    const seal = parseSeal(response, request);
    refuseOtherSigner(seal, this.#ticket);
    return seal;
  }

  async reopen(signal: AbortSignal): Promise<void> {
    await this.#request({ method: 'POST', path: '/reopen', signal });
  }

  async verify(signal: AbortSignal): ReturnType<ReceiverClient['verify']> {
    return parseTransferStatus(await this.#request({ method: 'POST', path: '/verify', signal }));
  }

  async prove(request: ProveRequest, transferId: string, signal: AbortSignal): Promise<readonly Buffer[]> {
    const response = await this.#postJson('POST', '/prove', request, signal);
    return parseProof(response, request, transferId);
  }

  async probeTarget(signal: AbortSignal): ReturnType<ReceiverClient['probeTarget']> {
    const options = {
      method: 'POST',
      path: '/probe/target',
      signal,
      responseMsMax: PATIENT_STALL_MS,
    } as const;
    return parseReadRate(await this.#request(options));
  }

  async probeLine(body: Buffer, signal: AbortSignal): Promise<void> {
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(body.length) };
    await this.#request({ method: 'POST', path: '/probe', headers, body, signal });
  }

  async close(): Promise<void> {
    await this.#client.destroy();
  }

  #adopt(socket: Socket): void {
    this.#socket = socket;
    this.#acknowledged.adopt(socket);
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
    return await this.#request({ method, path, headers, body, signal, responseMsMax: PATIENT_STALL_MS });
  }

  /** @throws TransferError for every response that is not 2xx. */
  async #request(options: RequestOptions): Promise<HttpResponse> {
    const response = await this.#send(options);
    if (response.status >= 200 && response.status < 300) return response;
    throw failureOf(response, `${options.method} ${options.path}`, this.#ticket);
  }

  async #send(options: RequestOptions): Promise<HttpResponse> {
    using paced = Buffer.isBuffer(options.body)
      ? await this.#pacer?.enter(options.body, options.signal)
      : undefined;
    const stall = new AbortController();
    using watch = this.#watch(options, stall);
    this.#watches.add(watch);
    const requestedMs = systemClock.monotonicMs();
    let interimCount = 0;
    try {
      const { statusCode, headers, body } = await this.#client.request({
        method: options.method,
        path: options.path,
        headers: { ...this.#headers, ...options.headers, ...paced?.headers },
        body: bodyOf(options.body, paced?.chunks),
        signal: AbortSignal.any([options.signal, stall.signal]),
        // Otherwise undici closes the connection after every HEAD.
        reset: false,
        onInfo: () => {
          if (++interimCount > INTERIM_RESPONSES_MAX) stall.abort(badResponse('only interim ones come'));
        },
      });
      const header = (name: string): string | undefined => [headers[name]].flat()[0];
      const bytes = await readReply(body, options.replyBytesMax ?? JSON_REPLY_BYTES_MAX);
      this.#report(header, requestedMs);
      return { status: statusCode, header, body: bytes };
    } catch (error) {
      throw error instanceof TransferError ? error : this.#connectionFailure(error);
    } finally {
      this.#watches.delete(watch);
    }
  }

  #connectionFailure(error: unknown): TransferError {
    const address = this.#address;
    const protocol = protocolMissingBy(error);
    if (protocol !== undefined) {
      return new TransferError(
        'connection-failed',
        `${address} does not speak ${protocol}: it is not a ddt-receive`,
        {
          cause: error,
          hint: 'check the host and port in the ticket against what ddt-receive printed',
          details: { isOtherService: true },
        },
      );
    }
    const message = `cannot reach the receiver at ${address}: ${reasonOf(error)}`;
    if (this.#isDialled) return new TransferError('connection-failed', message, { cause: error });
    const { host, port } = this.#ticket;
    const isNameUnknown = errnoOf(error) === 'ENOTFOUND' || errnoOf(error) === 'EAI_AGAIN';
    return new TransferError('connection-failed', message, {
      cause: error,
      hint: isNameUnknown
        ? `check the host name in the ticket: ${host}`
        : `is TCP ${port} open in the firewall, and is ddt-receive running?`,
    });
  }

  #watch({ responseMsMax = STALL_MS, replyBytesMax }: RequestOptions, stall: AbortController): StallWatch {
    return new StallWatch({
      unacked: this.#unacked,
      socketNow: () => this.#socket,
      responseMsMax: this.#stall?.responseMsMax ?? responseMsMax,
      lookIntervalMs: this.#stall?.lookIntervalMs,
      responseBytesMax: (replyBytesMax ?? JSON_REPLY_BYTES_MAX) + REPLY_EXTRA_BYTES_MAX,
      isReachable: async () => await this.#reachability.isReachable(),
      onStall: (error) => stall.abort(error),
    });
  }

  #report(header: (name: string) => string | undefined, requestedMs: number): void {
    const epoch = header(HEADER_EPOCH);
    const durableGeneration = Number(header(HEADER_DURABLE_GENERATION));
    const verifiedCount = Number(header(HEADER_VERIFIED_COUNT) ?? 0);
    if (epoch === undefined || !isCount(durableGeneration) || !isCount(verifiedCount)) return;
    this.#onResponse({ epoch, durableGeneration, verifiedCount, requestedMs });
  }
}

/** @throws TransferError `bad-answer` if it is longer than that. */
async function readReply(body: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > bytesMax) throw badResponse(`longer than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/**
 * The digest is always that of the plain block; its field says so where the body is encoded (PROTOCOL.md).
 */
function putRequestOf(block: OutgoingBlock): { headers: Record<string, string>; body: Buffer } {
  const { bytes, digest, algorithm, unreadable, encoded } = block;
  const body = encoded ?? bytes;
  const field = digestField(algorithm, digest);
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(body.length),
    ...(encoded === undefined
      ? { 'content-digest': field }
      : { 'content-encoding': 'zstd', 'unencoded-digest': field }),
    ...(unreadable.length === 0 ? {} : { [HEADER_SOURCE_ERRORS]: formatAreas(unreadable) }),
  };
  return { headers, body };
}
