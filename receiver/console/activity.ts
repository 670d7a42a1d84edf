/**
 * What the receiver does, as lines of its log: who claims and sends, how far it is, what is refused, and
 * what stops it. No line for a block, and none that a stranger could repeat at will.
 */
import { AREAS_NAMED_MAX, AreaReport } from '../../common/area-report.ts';
import { countAreas, formatAreas, type Area } from '../../common/areas.ts';
import type { Clock } from '../../common/clock.ts';
import { diskKind, diskName } from '../../common/disk/disk-line.ts';
import type { TransferError } from '../../common/errors.ts';
import type { Trouble } from '../../common/hooks.ts';
import { countLeftOut } from '../../common/protocol/left-out.ts';
import type { Claim, LeftOut, SourceDescription } from '../../common/protocol/protocol.ts';
import { printable } from '../../common/text.ts';
import { formatDuration, formatRate, formatSize } from '../../common/units.ts';
import type { AuditMembers, Log } from './log.ts';
import { Outage, RecurringWarning, type DurablePoint, type RecurringOptions } from './recurring-warning.ts';

/** Between two lines of progress, and between two of one kind of refusal. */
const INTERVAL_MS = 60_000;
/** A sender that reconnects sooner was not gone: lines break and are replaced all the time. */
const ABSENCE_MS = 5000;
/** The smallest block. Less in a minute is polling, not data. */
const RECEIVED_BYTES_MIN = 64 * 1024;

export interface Progress {
  /** null: a pipe that has not ended. */
  readonly sizeBytes: number | null;
  readonly durableBytes: number;
  /** null: blocks are not read back. */
  readonly verifiedBytes: number | null;
}

interface Sample {
  /** undefined before the claim. */
  readonly progress: Progress | undefined;
  readonly receivedBytes: number;
}

/** Who asks for something. */
export interface Actor {
  readonly address: string;
  /** The first digits of the SHA-256 of the token that was shown, good or not. */
  readonly tokenHash?: string;
  /** Whose own key has signed it, in the words of `--allow-signers`. */
  readonly signer?: string;
}

export interface RefusedRequest extends Actor {
  readonly method: string;
  readonly path: string;
}

interface Absence {
  readonly address: string;
  readonly sinceMs: number;
  isReported: boolean;
}

/** Areas of the source that are zeros on the target. */
export interface SealedZeros {
  readonly unreadable: readonly Area[];
  readonly leftOut: LeftOut | null;
}

export interface ActivityOptions {
  readonly log: Omit<Log, 'of'>;
  /** For connections and tokens that were refused, of whatever transfer; default: the same. */
  readonly strangersLog?: Omit<Log, 'of'>;
  readonly clock: Clock;
  readonly intervalMs?: number;
  /** For what somebody should know of. */
  readonly tell?: (trouble: Trouble) => void;
}

export class Activity implements Disposable {
  readonly #log: Omit<Log, 'of'>;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #tell: (trouble: Trouble) => void;
  readonly #end = new AbortController();
  readonly #areas: AreaReport;
  readonly #tokens: RecurringWarning;
  readonly #connections: RecurringWarning;
  readonly #claims: RecurringWarning;
  readonly #secondSenders: RecurringWarning;
  readonly #failures: RecurringWarning;
  readonly #space: Outage;
  readonly #target: Outage;
  #absence: Absence | undefined;
  #receivedBytes = (): number => 0;
  #targetErrorCount = 0;

  constructor(options: ActivityOptions) {
    const { log, strangersLog = log, clock, intervalMs = INTERVAL_MS, tell = () => {} } = options;
    this.#log = log;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#tell = tell;
    const recurring: RecurringOptions = { log, clock, intervalMs };
    this.#areas = new AreaReport(clock, (areas) => {
      const where = formatAreas(areas, AREAS_NAMED_MAX);
      const message = `unreadable areas of the source, replaced by zeros: ${where} (${countAreas(areas)})`;
      log.warning(message, 'unreadable');
      tell({ code: 'unreadable', message });
    });
    this.#tokens = new RecurringWarning({ ...recurring, log: strangersLog, action: 'refuse' });
    this.#connections = new RecurringWarning({ ...recurring, log: strangersLog, action: 'refuse' });
    this.#claims = new RecurringWarning(recurring);
    this.#secondSenders = new RecurringWarning(recurring);
    this.#failures = new RecurringWarning(recurring);
    this.#space = new Outage(recurring, 'there is room again');
    this.#target = new Outage(recurring, 'the target works again');
  }

  /**
   * Reports progress once an interval, while there is any, until disposed.
   * @param receivedBytes from senders, as it travelled.
   */
  watch(progress: () => Progress | undefined, receivedBytes: () => number): void {
    this.#receivedBytes = receivedBytes;
    void this.#watch(() => ({ progress: progress(), receivedBytes: receivedBytes() }));
  }

  /** From senders so far, as it travelled. */
  get receivedBytes(): number {
    return this.#receivedBytes();
  }

  /** Writes and flushes of the target that failed. */
  get targetErrorCount(): number {
    return this.#targetErrorCount;
  }

  /** For how long there has been no sender, after one was gone; undefined while there is one, or none was. */
  get absentMs(): number | undefined {
    return this.#absence && this.#clock.monotonicMs() - this.#absence.sinceMs;
  }

  [Symbol.dispose](): void {
    this.#end.abort();
  }

  claimed(outcome: 'new' | 'same' | 'fixed' | 'resized', { size, source }: Claim, actor: Actor): void {
    const length = size === null ? 'of unknown size' : formatSize(size);
    const by = byOf(actor);
    const message = {
      new: `claimed${by}: ${nameOf(source)}, ${length}`,
      same: `claimed again${by}: ${nameOf(source)}, ${length}`,
      fixed: `the pipe has ended: ${length} (${size} bytes), claimed${by}`,
      resized: `the source has been resized: ${length} (${size} bytes), claimed${by}`,
    }[outcome];
    this.#log.audit(message, membersOf('claim', actor));
  }

  sealed(blockCount: number, root: string, { unreadable, leftOut }: SealedZeros, actor: Actor): void {
    this.#areas.report();
    const zeros = unreadable.length === 0 ? '' : `, ${countAreas(unreadable)} of the source unreadable`;
    const omitted = leftOut === null ? '' : `, ${countLeftOut(leftOut)} of the source left out by the sender`;
    const message = `sealed${byOf(actor)}: ${blockCount} blocks, root ${root}${zeros}${omitted}`;
    this.#log.audit(message, membersOf('seal', actor));
  }

  reopened(actor: Actor): void {
    const message = `reopened${byOf(actor)}: areas of the source that were unreadable may be sent now`;
    this.#log.audit(message, membersOf('reopen', actor));
  }

  /** Everything is to be read back again. */
  verifying(actor: Actor): void {
    this.#log.audit(`reading everything back again, asked${byOf(actor)}`, membersOf('verify', actor));
  }

  /** A connection was closed, or not taken, for a limit on strangers. */
  connectionRefused(address: string, reason: string): void {
    this.#connections.add(`closed a connection from ${address}: ${reason}`, address);
  }

  /** @param areas that were not known yet. */
  unreadable(areas: readonly Area[]): void {
    this.#areas.add(areas);
  }

  senderConnected(address: string): void {
    if (this.#absence !== undefined) this.#reportAbsence(this.#absence);
    this.#absence = undefined;
    this.#log.info(`sender connected from ${address}`);
  }

  /** Its last connection was closed. */
  senderGone(address: string): void {
    const absence = { address, sinceMs: this.#clock.monotonicMs(), isReported: false };
    this.#absence = absence;
    void this.#awaitReturn(absence);
  }

  senderBack(address: string): void {
    const absence = this.#absence;
    this.#absence = undefined;
    if (absence === undefined || (!absence.isReported && absence.address === address)) return;
    const awayMs = this.#clock.monotonicMs() - absence.sinceMs;
    this.#log.info(`sender back from ${address} after ${formatDuration(awayMs)}`);
  }

  /** A request was refused, or failed. */
  refused(request: RefusedRequest, error: TransferError, at: DurablePoint): void {
    const { method, path, address } = request;
    const { code, kind, status, message } = error;
    if (status === 401 || code === 'scope') {
      this.#tokens.add(`refused ${method} ${path} from ${nameOfActor(request)}: ${message}`, address);
    } else if (code === 'in-use') {
      this.#secondSenders.add(`a sender at ${address} has to wait: ${message}`);
    } else if (code === 'no-space') {
      const text = `${message}: free some space, and the transfer continues by itself`;
      this.#space.fail(text, at);
      this.#tell({ code, message: text });
    } else if (method === 'PUT' && path === '/transfer') {
      this.#claims.add(`refused the claim of ${address}: ${message}`);
    } else if (kind === 'device' && (code !== 'io-error' || method === 'GET')) {
      // A failed write or flush ends the epoch, which is reported once for all the requests that it fails.
      this.#failures.add(`${method} ${path}: ${message}`);
    }
  }

  /** A write or a flush failed, and the epoch ended. */
  targetFailed(error: TransferError, lostBlocks: number): void {
    const blocks = lostBlocks === 1 ? '1 block that was' : `${lostBlocks} blocks that were`;
    const text = `${error.message}; ${blocks} not flushed yet will be sent again`;
    this.#target.fail(text);
    this.#targetErrorCount++;
    this.#tell({ code: error.code, message: text });
  }

  /** To be called with every reply. */
  durable(at: DurablePoint): void {
    this.#space.durable(at);
    this.#target.durable(at);
  }

  get #recurring(): RecurringWarning[] {
    return [this.#tokens, this.#connections, this.#claims, this.#secondSenders, this.#failures];
  }

  async #watch(sample: () => Sample): Promise<void> {
    let before = sample();
    while (await this.#sleep(this.#intervalMs)) {
      const now = sample();
      this.#reportProgress(now, before);
      before = now;
      for (const recurring of this.#recurring) {
        recurring.reportIfDue();
      }
      for (const outage of [this.#space, this.#target]) outage.reportIfDue();
    }
  }

  #reportProgress({ progress, receivedBytes }: Sample, before: Sample): void {
    if (progress === undefined) return;
    const { sizeBytes, durableBytes, verifiedBytes } = progress;
    const newBytes = receivedBytes - before.receivedBytes;
    const isReceiving = newBytes >= RECEIVED_BYTES_MIN;
    const isDurableSame = durableBytes === (before.progress?.durableBytes ?? 0);
    const isVerifiedSame = (verifiedBytes ?? 0) === (before.progress?.verifiedBytes ?? 0);
    if (isDurableSame && isVerifiedSame && !isReceiving) return;
    const shares = [`${shareOf(durableBytes, sizeBytes)} durable`];
    if (verifiedBytes !== null) shares.push(`${shareOf(verifiedBytes, sizeBytes)} verified`);
    const of = sizeBytes === null ? '' : ` of ${formatSize(sizeBytes)}`;
    const rate = formatRate((newBytes * 1000) / this.#intervalMs);
    this.#log.info(`progress: ${shares.join(', ')}${of}${isReceiving ? `; receiving ${rate}` : ''}`);
  }

  async #awaitReturn(absence: Absence): Promise<void> {
    if ((await this.#sleep(ABSENCE_MS)) && this.#absence === absence) this.#reportAbsence(absence);
  }

  #reportAbsence(absence: Absence): void {
    if (!absence.isReported) this.#log.info(`sender at ${absence.address} disconnected`);
    absence.isReported = true;
  }

  /** @returns false when disposed. */
  async #sleep(ms: number): Promise<boolean> {
    const { signal } = this.#end;
    try {
      await this.#clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return !signal.aborted;
  }
}

function nameOfActor({ address, tokenHash, signer }: Actor): string {
  if (tokenHash === undefined) return address;
  return `${address} (token ${tokenHash}${signer === undefined ? '' : ` signed by ${signer}`})`;
}

function byOf(actor: Actor): string {
  return ` by ${nameOfActor(actor)}`;
}

function membersOf(action: AuditMembers['action'], { address, tokenHash, signer }: Actor): AuditMembers {
  return {
    action,
    address,
    ...(tokenHash === undefined ? {} : { token: tokenHash }),
    ...(signer === undefined ? {} : { signer: printable(signer) }),
  };
}

function nameOf(source: SourceDescription): string {
  if (source.path === '') return source.description;
  return `${diskName(source)}, ${diskKind(source)}`;
}

/** `41.2 % (412 MiB)`; never 100 % before all of it is there. */
function shareOf(bytes: number, sizeBytes: number | null): string {
  if (sizeBytes === null) return formatSize(bytes);
  const permille = sizeBytes === 0 ? 1000 : Math.floor((bytes / sizeBytes) * 1000);
  return `${(permille / 10).toFixed(1)} % (${formatSize(bytes)})`;
}
