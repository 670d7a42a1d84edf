/**
 * A fluid model of a line with TCP connections: each has a congestion window that grows as cubic's (RFC 9438)
 * and is cut by random loss and by overflow of the shared queue. Lanes send one block after the other over
 * it.
 */
import type { Prng } from '../../support/prng.ts';

const PACKET_BYTES = 1448;
/** RFC 6928; RFC 9438, 4.6; RFC 9438, 4.1. */
const WINDOW_START = 10;
const CUT = 0.7;
const CUBIC_C = 0.4;
/** Below this there are no three duplicate acknowledgements, only a timeout (RFC 6298, Linux's 200 ms). */
const WINDOW_FAST = 4;
const TIMEOUT_MS_MIN = 200;
const SWAY_MS = 1000;
const MIB = 1024 * 1024;
/** Of a large disk. */
export const BLOCK_BYTES = 4 * MIB;

export interface LineParameters {
  readonly bytesPerSecond: number;
  readonly rttMs: number;
  /** Probability for each packet. */
  readonly loss: number;
  readonly blockBytes: number;
  /** How fast the source can be read by all lanes together. */
  readonly sourceBytesPerSecond: number;
  /** More blocks at once are refused as `busy`. */
  readonly receiverBlocks: number;
  /** Other traffic takes up to this part of the line, 0 to 1; it changes every second. */
  readonly sway: number;
}

interface Flow {
  window: number;
  threshold: number;
  windowMax: number;
  /** When the window was last cut, and until when the flow is still: connecting, in a timeout, reading. */
  cutAtMs: number;
  stillUntilMs: number;
  isReading: boolean;
  leftBytes: number;
  /** Arrived after a packet that was lost: not acknowledged until that has been sent again. */
  heldBytes: number;
  heldUntilMs: number;
}

export class LineModel {
  readonly #prng: Prng;
  #line: LineParameters;
  readonly #flows: Flow[] = [];
  #wanted = 0;
  #nowMs = 0;
  #queueBytes = 0;
  #sourceFreeAtMs = 0;
  #free = 1;
  #swayedAtMs = 0;
  #sendingMs = 0;
  #laneMs = 0;
  deliveredBytes = 0;
  /** As the sender sees it: acknowledgements are cumulative. */
  acknowledgedBytes = 0;
  finishedBlocks = 0;
  busyCount = 0;

  constructor(line: LineParameters, prng: Prng) {
    this.#line = line;
    this.#prng = prng;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get laneCount(): number {
    return this.#flows.length;
  }

  set line(line: LineParameters) {
    this.#line = line;
  }

  /** Surplus lanes finish their block first. */
  set lanes(wanted: number) {
    this.#wanted = wanted;
    while (this.#flows.length < wanted) this.#flows.push(this.#connect());
  }

  /** Of blocks in flight: what an interruption would lose. */
  get unfinishedBytes(): number {
    const { blockBytes } = this.#line;
    return this.#flows.reduce((sum, { leftBytes }) => sum + blockBytes - leftBytes, 0);
  }

  /** Since the last call. */
  takeSendingShare(): number {
    const share = this.#laneMs === 0 ? 0 : this.#sendingMs / this.#laneMs;
    this.#sendingMs = this.#laneMs = 0;
    return share;
  }

  run(ms: number): void {
    const steps = Math.ceil(ms / Math.min(50, Math.max(10, this.#line.rttMs / 2)));
    for (let step = 0; step < steps; step++) this.#step(ms / steps);
  }

  #step(ms: number): void {
    this.#nowMs += ms;
    const { bytesPerSecond, rttMs, sway } = this.#line;
    if (sway > 0 && this.#nowMs >= this.#swayedAtMs + SWAY_MS) {
      this.#swayedAtMs = this.#nowMs;
      this.#free = 1 - sway * this.#unit();
    }
    const perMs = (bytesPerSecond * this.#free) / 1000;
    const roundMs = rttMs + this.#queueBytes / perMs;
    let offered = 0;
    for (const flow of this.#flows) {
      this.#laneMs += ms;
      if (flow.isReading && flow.stillUntilMs <= this.#nowMs) flow.isReading = false;
      if (!flow.isReading) this.#sendingMs += ms;
      if (flow.stillUntilMs <= this.#nowMs) offered += (flow.window * PACKET_BYTES * ms) / roundMs;
    }
    const capacity = perMs * ms;
    const taken = Math.min(offered + this.#queueBytes, capacity);
    // One bandwidth-delay product, as routers are said to have.
    const queueMax = Math.max(64 * 1024, perMs * rttMs);
    const queued = this.#queueBytes + offered - taken;
    const overflow = Math.max(0, queued - queueMax);
    this.#queueBytes = Math.min(queued, queueMax);
    if (offered > 0) {
      const share = Math.min(1, taken / offered);
      for (const flow of this.#flows)
        this.#advance(flow, { ms, roundMs, share, dropped: overflow / offered });
    }
    for (let at = this.#flows.length - 1; at >= 0; at--) this.#nextBlock(this.#flows[at], at);
  }

  #advance(flow: Flow, step: { ms: number; roundMs: number; share: number; dropped: number }): void {
    if (flow.stillUntilMs > this.#nowMs) return;
    const { ms, roundMs, share, dropped } = step;
    const packets = (flow.window * ms) / roundMs;
    const bytes = Math.min(flow.leftBytes, packets * PACKET_BYTES * share);
    flow.leftBytes -= bytes;
    this.deliveredBytes += bytes;
    flow.heldBytes += bytes;
    if (flow.heldUntilMs <= this.#nowMs) {
      this.acknowledgedBytes += flow.heldBytes;
      flow.heldBytes = 0;
    }
    const lost = 1 - (1 - Math.min(0.9, this.#line.loss + dropped)) ** packets;
    if (this.#nowMs - flow.cutAtMs > roundMs && this.#unit() < lost) this.#cut(flow, roundMs);
    else this.#grow(flow, ms, roundMs);
  }

  #cut(flow: Flow, roundMs: number): void {
    flow.cutAtMs = this.#nowMs;
    flow.heldUntilMs = this.#nowMs + roundMs;
    flow.windowMax = flow.window;
    if (flow.window < WINDOW_FAST) {
      flow.stillUntilMs = this.#nowMs + Math.max(TIMEOUT_MS_MIN, 1.5 * roundMs);
      flow.threshold = 2;
      flow.window = 1;
    } else {
      flow.window = Math.max(2, flow.window * CUT);
      flow.threshold = flow.window;
    }
  }

  #grow(flow: Flow, ms: number, roundMs: number): void {
    // HyStart (RFC 9406): slow start ends when the queue grows.
    if (roundMs > this.#line.rttMs * 1.125) flow.threshold = Math.min(flow.threshold, flow.window);
    if (flow.window < flow.threshold) {
      flow.window *= 2 ** (ms / roundMs);
      return;
    }
    const seconds = (this.#nowMs - flow.cutAtMs) / 1000;
    const turn = Math.cbrt((flow.windowMax * (1 - CUT)) / CUBIC_C);
    const cubic = CUBIC_C * (seconds - turn) ** 3 + flow.windowMax;
    const friendly = flow.window + (((3 * (1 - CUT)) / (1 + CUT)) * ms) / roundMs;
    // At most half a window a round.
    const most = flow.window * (1 + (0.5 * ms) / roundMs);
    flow.window = Math.min(most, Math.max(friendly, cubic, flow.window));
  }

  #nextBlock(flow: Flow | undefined, at: number): void {
    if (flow === undefined || flow.leftBytes > 0) return;
    this.finishedBlocks++;
    if (this.#flows.length > this.#wanted) {
      this.acknowledgedBytes += flow.heldBytes;
      this.#flows.splice(at, 1);
      return;
    }
    this.#read(flow);
    flow.stillUntilMs = Math.max(flow.stillUntilMs, this.#nowMs + this.#line.rttMs);
  }

  #read(flow: Flow): void {
    const { blockBytes } = this.#line;
    flow.leftBytes = blockBytes;
    flow.isReading = true;
    const startMs = Math.max(this.#sourceFreeAtMs, this.#nowMs);
    this.#sourceFreeAtMs = startMs + (blockBytes * 1000) / this.#line.sourceBytesPerSecond;
    flow.stillUntilMs = this.#sourceFreeAtMs;
    if (this.#flows.length > this.#line.receiverBlocks) {
      this.busyCount++;
      flow.stillUntilMs += 1000;
    }
  }

  #connect(): Flow {
    const flow: Flow = {
      window: WINDOW_START,
      threshold: Infinity,
      windowMax: WINDOW_START,
      cutAtMs: this.#nowMs,
      stillUntilMs: 0,
      isReading: true,
      leftBytes: 0,
      heldBytes: 0,
      heldUntilMs: 0,
    };
    this.#read(flow);
    flow.stillUntilMs += 3 * this.#line.rttMs;
    return flow;
  }

  #unit(): number {
    return this.#prng.next() / 2 ** 32;
  }
}
