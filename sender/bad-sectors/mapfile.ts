/**
 * GNU ddrescue's mapfile ("Mapfile structure" in its manual): comments, a line with the current position and
 * status, then one line for each area, without gaps. Pure.
 */
import { TransferError } from '../../common/errors.ts';
import type { MapArea, ReadStatus } from './read-map.ts';

/** As in ddrescue; `*` and `/` are failed blocks whose sectors it has not tried one by one yet. */
const STATUS_OF = new Map<string, ReadStatus>([
  ['+', '+'],
  ['-', '-'],
  ['?', '?'],
  ['*', '?'],
  ['/', '?'],
]);
/** Of the whole mapfile: what ddrescue was doing. */
const CURRENT_STATUS = /^[?*/\-FG+]$/;

/** @param comments lines without `#`. */
export function formatMapfile(areas: readonly MapArea[], comments: readonly string[]): string {
  const shown = joined(areas);
  const untried = shown.find(({ status }) => status === '?');
  const bad = shown.find(({ status }) => status === '-');
  const current = untried ?? bad;
  return [
    '# Mapfile. Created by dd-transfer',
    ...comments.map((line) => `# ${line}`),
    '# current_pos  current_status  current_pass',
    `${hex(current?.offset ?? 0)}     ${current?.status ?? '+'}               1`,
    '#      pos        size  status',
    ...shown.map(({ offset, length, status }) => `${hex(offset)}  ${hex(length)}  ${status}`),
    '',
  ].join('\n');
}

/** As ddrescue writes them: neighbours differ. */
function joined(areas: readonly MapArea[]): MapArea[] {
  const found: { offset: number; length: number; status: ReadStatus }[] = [];
  for (const { offset, length, status } of areas) {
    const shown = status === 'was-' ? '-' : status;
    const last = found.at(-1);
    if (last?.status === shown) last.length += length;
    else found.push({ offset, length, status: shown });
  }
  return found;
}

function hex(value: number): string {
  return `0x${value.toString(16).toUpperCase().padStart(8, '0')}`;
}

/** Reads a mapfile line by line. */
export class MapfileReader {
  readonly #name: string;
  readonly #hint: string;
  readonly #startsAnywhere: boolean;
  #line = 0;
  #hasStatus = false;
  #end: number | undefined;

  /** @param name of the file, for messages. @param startsAnywhere the first area need not be at 0. */
  constructor(name: string, hint: string, startsAnywhere = false) {
    this.#name = name;
    this.#hint = hint;
    this.#startsAnywhere = startsAnywhere;
  }

  /** @returns the area of a line that has one. @throws TransferError `usage`. */
  read(line: string): MapArea | undefined {
    this.#line++;
    const words = line.trim().split(/\s+/);
    if (words[0] === '' || words[0]?.startsWith('#') === true) return undefined;
    if (!this.#hasStatus) {
      if (!isStatusLine(words)) this.#refuseLine('is not the line with the current position and status');
      this.#hasStatus = true;
      return undefined;
    }
    const area = areaOf(words) ?? this.#refuseLine('is not an area: position, size and status');
    const expected = this.#end ?? (this.#startsAnywhere ? area.offset : 0);
    if (area.offset !== expected) {
      this.#refuseLine(`starts at ${area.offset}, but the area before it ends at ${expected}`);
    }
    this.#end = area.offset + area.length;
    return area;
  }

  /** @returns where the last area ends. @throws TransferError `usage` without the line that comes first. */
  finish(): number {
    if (!this.#hasStatus) this.refuse('it has no line with the current position and status');
    return this.#end ?? 0;
  }

  /** @throws TransferError `usage`. */
  refuse(why: string): never {
    throw new TransferError('usage', `cannot use the mapfile ${this.#name}: ${why}`, { hint: this.#hint });
  }

  #refuseLine(why: string): never {
    this.refuse(`line ${this.#line} ${why}`);
  }
}

/**
 * @param name of the file, for messages. @param sizeBytes of the source.
 * @returns areas that tile the source. @throws TransferError `usage`.
 */
export function parseMapfile(text: string, name: string, sizeBytes: number): MapArea[] {
  const hint = 'check that it is the mapfile of this source, or use --mapfile with a new name';
  const reader = new MapfileReader(name, hint);
  const areas = text.split('\n').flatMap((line) => reader.read(line) ?? []);
  const end = reader.finish();
  if (end !== sizeBytes) reader.refuse(`it covers ${end} bytes, but the source has ${sizeBytes}`);
  return areas;
}

/** Position, status and, since ddrescue 1.20, the number of the pass. */
function isStatusLine([position = '', status = '', pass = '1', ...more]: readonly string[]): boolean {
  const isPlace = numberOf(position) !== undefined && numberOf(pass) !== undefined;
  return isPlace && CURRENT_STATUS.test(status) && more.length === 0;
}

function areaOf([position = '', size = '', word = '', ...more]: readonly string[]): MapArea | undefined {
  const [offset, length, status] = [numberOf(position), numberOf(size), STATUS_OF.get(word)];
  if (offset === undefined || length === undefined || length === 0) return undefined;
  if (status === undefined || more.length > 0 || !Number.isSafeInteger(offset + length)) return undefined;
  return { offset, length, status };
}

/** As strtoll(3) with base 0: decimal, hexadecimal after `0x`, or octal after `0`. */
function numberOf(text: string): number | undefined {
  const isOctal = /^0[0-7]+$/.test(text);
  if (!isOctal && !/^(0[xX][0-9a-fA-F]{1,14}|0|[1-9]\d{0,15})$/.test(text)) return undefined;
  const value = isOctal ? Number.parseInt(text, 8) : Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
