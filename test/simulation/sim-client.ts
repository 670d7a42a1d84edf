/**
 * One connection of the sender, like http-receiver.ts: its requests, and how it handles the responses.
 */
import assert from 'node:assert/strict';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf } from '../../common/geometry.ts';
import type { Claim, TransferStatus } from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';
import type {
  BlockHead,
  OutgoingBlock,
  ReceiverClient,
  ResponseInfo,
  Seal,
  SealRequest,
} from '../../sender/client/receiver-port.ts';
import { parseBlockResult, parseHead, parseSeal, parseZeroResult } from '../../sender/client/responses.ts';
import { badResponse } from '../../sender/client/response-fields.ts';
import { parseTransferStatus } from '../../sender/client/status-response.ts';
import { readStamps, type Stamps } from './contents.ts';
import { Line, PATIENT_STALL_MS, STALL_MS } from './line.ts';
import type { Answer, Request, SentBlock } from './requests.ts';
import type { SimProcess } from './scheduler.ts';
import type { End, World } from './world.ts';

export class SimClient implements ReceiverClient {
  bytesWire = 0;
  isConnected = false;
  readonly standstillMs = undefined;
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #onResponse: (info: ResponseInfo) => void;
  readonly #line: Line;
  /** One request at a time, as on an HTTP/1.1 connection without pipelining. */
  #turn: Promise<void> = Promise.resolve();

  constructor(world: World, process: SimProcess, onResponse: (info: ResponseInfo) => void) {
    this.#world = world;
    this.#process = process;
    this.#onResponse = onResponse;
    this.#line = new Line(world, process);
  }

  get acknowledgedBytes(): number {
    return this.bytesWire;
  }

  async refreshAcknowledged(): Promise<void> {
    // Here nothing is buffered between the process and the line.
  }

  async transfer(signal: AbortSignal): Promise<TransferStatus> {
    return parseTransferStatus(await this.#ask({ kind: 'transfer' }, signal));
  }

  async claim(claim: Claim, signal: AbortSignal): Promise<TransferStatus> {
    return parseTransferStatus(await this.#ask({ kind: 'claim', claim }, signal, PATIENT_STALL_MS));
  }

  async listDigests(from: number, count: number, signal: AbortSignal): Promise<Buffer> {
    const { body } = await this.#ask({ kind: 'list', from, count }, signal);
    if (body.length === count * DIGEST_BYTES) return body;
    // The size of a pipe may have been fixed meanwhile.
    if (this.#world.profile.pipe === undefined) this.#world.violate(`a listing of ${body.length} bytes`);
    throw badResponse(`a listing of ${count} blocks in ${body.length} bytes`);
  }

  async headBlock(index: number, signal: AbortSignal): Promise<BlockHead | 'absent'> {
    try {
      const { body, info } = await this.#ask({ kind: 'head', index }, signal);
      return parseHead({
        ...(JSON.parse(body.toString()) as Parameters<typeof parseHead>[0]),
        epoch: info.epoch,
      });
    } catch (error) {
      if (error instanceof TransferError && error.code === 'block-absent') return 'absent';
      throw error;
    }
  }

  async readBlock(index: number, signal: AbortSignal): Promise<Buffer> {
    return (await this.#ask({ kind: 'get', index }, signal)).body;
  }

  async reopen(signal: AbortSignal): Promise<void> {
    await this.#ask({ kind: 'reopen' }, signal);
  }

  async verify(signal: AbortSignal): Promise<TransferStatus> {
    return parseTransferStatus(await this.#ask({ kind: 'verify' }, signal));
  }

  async putBlock(
    { index, bytes, digest, algorithm, unreadable }: OutgoingBlock,
    signal: AbortSignal,
  ): ReturnType<ReceiverClient['putBlock']> {
    const { random, profile } = this.#world;
    const sent = new Outgoing(bytes);
    // The body leaves at once, or in the course of the request.
    if (random.chance(0.5)) sent.stamps();
    const block: SentBlock = {
      index,
      lengthBytes: bytes.length,
      digest: Buffer.from(digest),
      isFlushed: false,
      unreadable,
      stamps: () => sent.stamps(),
      bodyMs: this.#world.latency(profile.lineMs),
      fate: 'whole',
    };
    this.bytesWire += bytes.length;
    try {
      const answer = await this.#ask({ kind: 'put', block }, signal);
      return parseBlockResult(answer, { index, lengthBytes: bytes.length, digest, algorithm });
    } finally {
      // From here on the buffer belongs to another block.
      sent.stamps();
    }
  }

  async copyBlock(
    { index, bytes, digest, algorithm }: OutgoingBlock,
    from: number | undefined,
    signal: AbortSignal,
  ): ReturnType<ReceiverClient['copyBlock']> {
    assert(from !== undefined, 'its disk holds no digests');
    const asked: Request = { kind: 'copy', from, to: index, digest: Buffer.from(digest) };
    const answer = await this.#ask(asked, signal);
    return parseBlockResult(answer, { index, lengthBytes: bytes.length, digest, algorithm });
  }

  async zero(ranges: readonly Range[], signal: AbortSignal): ReturnType<ReceiverClient['zero']> {
    return parseZeroResult(await this.#ask({ kind: 'zero', ranges }, signal, PATIENT_STALL_MS), ranges);
  }

  async flush(signal: AbortSignal): Promise<void> {
    await this.#ask({ kind: 'flush' }, signal, PATIENT_STALL_MS);
  }

  async complete(request: SealRequest, signal: AbortSignal): Promise<Seal | 'verifying'> {
    const blockCount = blockCountOf(request.geometry);
    const asked: Request = { kind: 'complete', blockCount, root: request.root };
    const answer = await this.#ask(asked, signal, PATIENT_STALL_MS);
    return answer.body.length === 0 ? 'verifying' : parseSeal(answer, request);
  }

  async prove(): Promise<never> {
    return await Promise.reject(new TransferError('not-found', 'no such path'));
  }

  async probeTarget(): Promise<never> {
    return await Promise.reject(new TransferError('not-found', 'no such path'));
  }

  async probeLine(): Promise<never> {
    return await this.probeTarget();
  }

  async close(): Promise<void> {
    this.isConnected = false;
  }

  async #ask(request: Request, signal: AbortSignal, stallMs = STALL_MS): Promise<Answer> {
    const previous = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    try {
      await previous;
      signal.throwIfAborted();
      return await this.#exchange(request, signal, stallMs);
    } finally {
      resolve();
    }
  }

  async #exchange(request: Request, signal: AbortSignal, stallMs: number): Promise<Answer> {
    const { scheduler, waiting, faults } = this.#world;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const requestedMs = scheduler.nowMs;
    let isOpen = true;
    const close = (): boolean => {
      if (!isOpen) return false;
      isOpen = false;
      waiting.delete(lost);
      signal.removeEventListener('abort', abort);
      stall.isCancelled = true;
      return true;
    };
    const fail = (): void => {
      if (!close()) return;
      this.isConnected = false;
      scheduler.trace('cut');
      reject(new TransferError('connection-failed', `cannot reach the receiver: ${request.kind}`));
    };
    const abort = (): void => {
      const reason: unknown = signal.reason;
      if (close()) reject(reason instanceof Error ? reason : new Error(String(reason)));
    };
    // A machine without power sends nothing.
    const lost = (end: End): void => {
      if (end !== 'power') this.#line.later('reset', fail);
    };
    const settle = (answer: Answer): void => {
      if (!close()) return;
      this.isConnected = true;
      scheduler.trace('reply', answer.info.durableGeneration, answer.info.verifiedCount);
      this.#onResponse({ ...answer.info, requestedMs });
      if (answer.error === undefined) resolve(answer);
      else reject(asReceived(answer.error, answer.info.epoch));
    };
    const stall = scheduler.after(stallMs, this.#process, 'stall', fail);
    signal.addEventListener('abort', abort, { once: true });
    waiting.add(lost);
    scheduler.trace(request.kind, faults.hitCount);
    this.#line.transmit(request, { fail, settle });
    return await promise;
  }
}

/** The body of a block that is being sent. */
class Outgoing {
  readonly #bytes: Buffer;
  #stamps: Stamps | undefined;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** What has left: the content of the buffer when this is first called. */
  stamps(): Stamps {
    return (this.#stamps ??= readStamps(this.#bytes));
  }
}

/** Errors travel as JSON; the epoch is in the head of the response. */
function asReceived(error: TransferError, epoch: string): TransferError {
  const { code, message, details, retryAfterSeconds } = error;
  return new TransferError(code, message, {
    details: { ...(JSON.parse(JSON.stringify(details)) as Record<string, unknown>), epoch },
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}
