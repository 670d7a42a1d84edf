/** The bandwidth schedule: from the command line, or from a file that may be edited during the transfer. */
import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '../clock.ts';
import { TransferError, reasonOf } from '../errors.ts';
import { limitAt, parseSchedule, type Limit, type BandwidthSchedule } from './bandwidth-schedule.ts';

const LOOK_INTERVAL_MS = 1000;

export interface ScheduleSourceOptions {
  readonly clock: Clock;
  /** Called when the limit changes, by the clock or by an edit. */
  readonly onChange: (limit: Limit) => void;
  /** Called once for each edit that cannot be used. */
  readonly onBroken: (error: TransferError) => void;
}

export class ScheduleSource implements Disposable {
  readonly #options: ScheduleSourceOptions;
  readonly #path: string | undefined;
  readonly #timer: NodeJS.Timeout;
  #schedule: BandwidthSchedule;
  #reported: Limit;
  /** Of the file when it was last read. */
  #stamp: string;
  #brokenStamp: string | undefined;
  #lastLook: Promise<void> = Promise.resolve();

  private constructor(
    options: ScheduleSourceOptions,
    found: { path: string | undefined; schedule: BandwidthSchedule; stamp: string },
  ) {
    this.#options = options;
    this.#path = found.path;
    this.#schedule = found.schedule;
    this.#stamp = found.stamp;
    this.#reported = this.bytesPerSecond;
    this.#timer = setInterval(() => void this.reload(), LOOK_INTERVAL_MS);
    this.#timer.unref();
  }

  /**
   * @param argument of `--bwlimit`: a limit, a schedule, or `@` and the path of a file with one.
   * @throws TransferError `usage`.
   */
  static async open(argument: string, options: ScheduleSourceOptions): Promise<ScheduleSource> {
    if (!argument.startsWith('@'))
      return new ScheduleSource(options, { path: undefined, schedule: parseSchedule(argument), stamp: '' });
    const path = argument.slice(1);
    const stamp = await stampOf(path);
    return new ScheduleSource(options, { path, schedule: await readSchedule(path), stamp });
  }

  /** The limit at this moment. */
  get bytesPerSecond(): Limit {
    return limitAt(this.#schedule, this.#options.clock.wallMs());
  }

  /**
   * Checks file and clock. @param isForced reads the file even if it looks unchanged, as after SIGHUP.
   */
  async reload(isForced = false): Promise<void> {
    this.#lastLook = this.#lastLook.then(async () => await this.#lookAgain(isForced));
    await this.#lastLook;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #lookAgain(isForced: boolean): Promise<void> {
    if (this.#path !== undefined) await this.#readAgain(this.#path, isForced);
    const limit = this.bytesPerSecond;
    if (limit === this.#reported) return;
    this.#reported = limit;
    this.#options.onChange(limit);
  }

  async #readAgain(path: string, isForced: boolean): Promise<void> {
    const stamp = await stampOf(path);
    if (stamp === this.#stamp && !isForced) return;
    const wasBroken = stamp === this.#brokenStamp;
    try {
      this.#schedule = await readSchedule(path);
      this.#stamp = stamp;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      this.#brokenStamp = stamp;
      // It may be being written: only what stays broken is reported.
      if (!wasBroken && !isForced) return;
      this.#stamp = stamp;
      this.#options.onBroken(error);
    }
  }
}

/** Differs after each edit; empty while the file does not exist. */
async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return '';
  }
}

async function readSchedule(path: string): Promise<BandwidthSchedule> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new TransferError('usage', `cannot read the bandwidth limit from ${path}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  try {
    return parseSchedule(text);
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    throw new TransferError('usage', `cannot use the bandwidth limit in ${path}: ${error.message}`, {
      cause: error,
      ...hint,
    });
  }
}
