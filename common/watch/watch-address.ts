/** `--web [[host:]port]`, whose value may be left out. Pure. */
import { TransferError } from '../errors.ts';
import { parseWhole } from '../units.ts';

export interface WatchAddress {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** Where the key is kept; undefined: it is made for this run. */
  readonly keyFile?: string;
}

const LOOPBACK = '127.0.0.1';
const ADDRESS = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))?:)?(\d{1,5})$/;
/** What `--web` alone means. */
const FREE_PORT = '0';

/**
 * The words of a command line, with a value for each `--web` that has none: a source or target after it is
 * not its value.
 */
export function withWatchAddress(words: readonly string[]): string[] {
  const end = words.indexOf('--');
  return words.map((word, at) => {
    const isAlone = word === '--web' && (end < 0 || at < end) && !ADDRESS.test(words[at + 1] ?? '');
    return isAlone ? `--web=${FREE_PORT}` : word;
  });
}

/**
 * The values of `--web`, without a host on loopback only, and of `--web-key-file`.
 * @returns undefined without `--web`. @throws TransferError `usage`.
 */
export function readWatchAddress(
  text: string | undefined,
  keyFile: string | undefined,
): WatchAddress | undefined {
  if (text !== undefined)
    return { ...parseWatchAddress(text), ...(keyFile === undefined ? {} : { keyFile }) };
  if (keyFile === undefined) return undefined;
  throw new TransferError('usage', '--web-key-file is only for --web', { hint: 'add --web' });
}

export function parseWatchAddress(text: string): WatchAddress {
  const match = ADDRESS.exec(text);
  if (match === null) {
    throw new TransferError('usage', `--web '${text}' is not [host:]port`, {
      hint: 'for example --web, --web 9000 or --web 192.0.2.7:9000',
    });
  }
  return {
    host: match[1] ?? match[2] ?? LOOPBACK,
    port: parseWhole(match[3] ?? '', '--web port', 0, 65_535),
  };
}
