/** The mapfile on disk: read at the start, written regularly and at the end, atomically. */
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { writeFileDurably } from '../../common/io/durable-file.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import { formatMapfile, parseMapfile } from './mapfile.ts';
import type { ReadMap } from './read-map.ts';

/** After a crash, so much time of reading is repeated; as in ddrescue. */
const SAVE_INTERVAL_MS = 30_000;

export class MapfileKeeper {
  readonly #path: string;
  readonly #map: ReadMap;
  readonly #comments: readonly string[];
  readonly #warn: (message: string) => void;
  readonly #timer: NodeJS.Timeout;
  #savedChanges: number;
  #hasFailed = false;
  #saving: Promise<void> = Promise.resolve();

  private constructor(options: {
    path: string;
    map: ReadMap;
    comments: readonly string[];
    warn: (message: string) => void;
  }) {
    ({ path: this.#path, map: this.#map, comments: this.#comments, warn: this.#warn } = options);
    this.#savedChanges = this.#map.changes;
    this.#timer = setInterval(() => void this.save(), SAVE_INTERVAL_MS);
    this.#timer.unref();
  }

  /**
   * Loads an existing mapfile into `map`; a new one is written at once, to see that it can be.
   * @param comments lines about the source. @param warn called when it cannot be written later.
   * @throws TransferError `usage`; the file is unchanged then.
   */
  static async open(
    path: string,
    map: ReadMap,
    { comments, warn }: { comments: readonly string[]; warn: (message: string) => void },
  ): Promise<MapfileKeeper> {
    const absolute = resolve(path);
    try {
      const text = await readText(absolute);
      if (text === undefined) await writeFileDurably(absolute, formatMapfile(map.areas(), comments), 0o644);
      else {
        map.load(parseMapfile(text, path, map.sizeBytes));
        await access(dirname(absolute), constants.W_OK);
      }
    } catch (error) {
      if (error instanceof TransferError) throw error;
      throw new TransferError('usage', `cannot use the mapfile ${path}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
    return new MapfileKeeper({ path: absolute, map, comments, warn });
  }

  /** Never rejects: a copy continues without its mapfile. */
  async save(): Promise<void> {
    this.#saving = this.#saving.then(async () => await this.#saveNow());
    await this.#saving;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.save();
  }

  async #saveNow(): Promise<void> {
    const { changes } = this.#map;
    if (changes === this.#savedChanges) return;
    try {
      await writeFileDurably(this.#path, formatMapfile(this.#map.areas(), this.#comments), 0o644);
      this.#savedChanges = changes;
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.#warn(`cannot write the mapfile ${this.#path}: ${reasonOf(error)}`);
      this.#hasFailed = true;
    }
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
