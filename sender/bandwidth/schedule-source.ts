/** Where the limit comes from: the command line, or a file that may be edited while the transfer runs. */
import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '../../common/clock.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { limitAt, parseSchedule, type Limit, type BandwidthSchedule } from './bandwidth-schedule.ts';

const LOOK_INTERVAL_MS = 1000;

export interface ScheduleSourceOptions {
  readonly clock: Clock;
  /** Told when another limit holds from now on, by the clock or by an edit. */
  readonly onChange: (limit: Limit) => void;
  /** Told once of each edit that can't be used. */
  readonly onBroken: (error: TransferError) => void;
}

export class ScheduleSource implements Disposable {
  readonly #options: ScheduleSourceOptions;
  readonly #path: string | undefined;
  readonly #timer: NodeJS.Timeout;
  #timetable: BandwidthSchedule;
  #told: Limit;
  /** Of the file as it was last read. */
  #stamp: string;
  #brokenStamp: string | undefined;
  #lastLook: Promise<void> = Promise.resolve();

  private constructor(
    options: ScheduleSourceOptions,
    found: { path: string | undefined; timetable: BandwidthSchedule; stamp: string },
  ) {
    this.#options = options;
    this.#path = found.path;
    this.#timetable = found.timetable;
    this.#stamp = found.stamp;
    this.#told = this.bytesPerSecond;
    this.#timer = setInterval(() => void this.reload(), LOOK_INTERVAL_MS);
    this.#timer.unref();
  }

  /**
   * @param argument of `--bwlimit`: a limit, a timetable, or `@` and the path of a file that holds one.
   * @throws TransferError `usage`.
   */
  static async open(argument: string, options: ScheduleSourceOptions): Promise<ScheduleSource> {
    if (!argument.startsWith('@'))
      return new ScheduleSource(options, { path: undefined, timetable: parseSchedule(argument), stamp: '' });
    const path = argument.slice(1);
    const stamp = await stampOf(path);
    return new ScheduleSource(options, { path, timetable: await readTimetable(path), stamp });
  }

  /** What holds now. */
  get bytesPerSecond(): Limit {
    return limitAt(this.#timetable, this.#options.clock.wallMs());
  }

  /**
   * Looks at the file and at the clock; also on SIGHUP. @param isForced read it although it looks the same.
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
    if (limit === this.#told) return;
    this.#told = limit;
    this.#options.onChange(limit);
  }

  async #readAgain(path: string, isForced: boolean): Promise<void> {
    const stamp = await stampOf(path);
    if (stamp === this.#stamp && !isForced) return;
    const wasBroken = stamp === this.#brokenStamp;
    try {
      this.#timetable = await readTimetable(path);
      this.#stamp = stamp;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      this.#brokenStamp = stamp;
      // Perhaps it is being written: only what stays broken is told.
      if (!wasBroken && !isForced) return;
      this.#stamp = stamp;
      this.#options.onBroken(error);
    }
  }
}

/** Differs after each edit; empty while there is no such file. */
async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return '';
  }
}

async function readTimetable(path: string): Promise<BandwidthSchedule> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new TransferError('usage', `cannot read the limit from ${path}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  try {
    return parseSchedule(text);
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    throw new TransferError('usage', `cannot use the limit in ${path}: ${error.message}`, {
      cause: error,
      ...hint,
    });
  }
}
