/** The live line of a terminal of any width. Pure. */
import { printable } from '../../common/text.ts';
import { stripVTControlCharacters } from 'node:util';
import type { OutageText } from './outage.ts';
import { PROGRESS_COLUMNS, verifiedBlocksOf, type Snapshot } from './progress-columns.ts';

/** A shorter bar shows nothing that the percentage doesn't. */
const BAR_CELLS_MIN = 6;
const BAR_CELLS_MAX = 60;
/** Its ends, and the blank before it. */
const BAR_EXTRA_CELLS = 3;
/** Among the ranks of the columns. */
const BAR_RANK = 4;
const GAP = '  ';

/** What a terminal can show of a bar, from its left end to its right end. */
export interface BarStyle {
  readonly left: string;
  /** Verified. */
  readonly full: string;
  /** A part of a cell, in rising order. */
  readonly begun: string;
  readonly durable: string;
  readonly arrived: string;
  readonly empty: string;
  readonly right: string;
}

export const BLOCKS_STYLE: BarStyle = {
  left: '▕',
  full: '█',
  begun: '▏▎▍▌▋▊▉',
  durable: '▒',
  arrived: '░',
  empty: ' ',
  right: '▏',
};
export const ASCII_STYLE: BarStyle = {
  left: '[',
  full: '#',
  begun: '',
  durable: '-',
  arrived: '.',
  empty: ' ',
  right: ']',
};

/** `38 % ddt-send /dev/sdc`, for the title of the window. */
export function titleOf(snapshot: Snapshot, isWaiting: boolean, source = ''): string {
  const { text } = PROGRESS_COLUMNS.find(({ name }) => name === 'percent') ?? {};
  const words = [text?.(snapshot)?.trim(), isWaiting ? 'waiting:' : undefined, 'ddt-send', source];
  return words.filter((word) => word !== undefined && word !== '').join(' ');
}

/** @returns one line, and a second one in an outage; none is wider than `columns` - 1. */
export function liveLines(
  snapshot: Snapshot,
  outage: OutageText | undefined,
  columns: number,
  style: BarStyle,
): string[] {
  // Terminals differ in whether a full last column wraps.
  const width = Math.max(1, columns - 1);
  const line = progressLineOf(snapshot, width, style);
  return outage === undefined ? [line] : [line, outageLine(outage, width)];
}

interface Part {
  readonly text: string;
  readonly cells: number;
  readonly rank: number;
}

function progressLineOf(snapshot: Snapshot, width: number, style: BarStyle): string {
  const parts = partsOf(snapshot);
  const barCellsMin = BAR_CELLS_MIN + BAR_EXTRA_CELLS;
  const chosen = new Set<Part>();
  let free = width;
  let hasBar = false;
  const addBar = (): void => {
    hasBar = snapshot.bytesTotal !== null && free >= barCellsMin;
    if (hasBar) free -= barCellsMin;
  };
  for (const part of parts.toSorted((a, b) => a.rank - b.rank)) {
    if (part.rank > BAR_RANK && !hasBar) addBar();
    const cells = part.cells + (chosen.size === 0 ? 0 : GAP.length);
    if (cells > free) continue;
    free -= cells;
    chosen.add(part);
  }
  const shown = parts.filter((part) => chosen.has(part));
  // Numbers are right-aligned, as in a table.
  const texts = shown.map(({ text, cells }, at) => (at < shown.length - 1 ? text.padStart(cells) : text));
  if (hasBar) {
    const bar = barOf(snapshot, Math.min(BAR_CELLS_MAX, BAR_CELLS_MIN + free), style);
    texts.splice(0, 1, `${texts[0] ?? ''} ${bar}`);
  }
  return clip(texts.join(GAP).trimEnd(), width);
}

function partsOf(snapshot: Snapshot): Part[] {
  return PROGRESS_COLUMNS.flatMap(({ text, only, rank = 0, cells = 0 }) => {
    const shown = only === 'plain' ? undefined : text?.(snapshot);
    return shown === undefined ? [] : [{ text: shown, cells: Math.max(cells, shown.length), rank }];
  });
}

function barOf(snapshot: Snapshot, cells: number, style: BarStyle): string {
  const { counters, bytesArrived, bytesTotal } = snapshot;
  const cellsOf = (part: number, total: number): number =>
    total === 0 ? cells : (Math.min(part, total) * cells) / total;
  const verified = cellsOf(verifiedBlocksOf(snapshot), counters.total);
  const full = Math.floor(verified);
  const begunSteps = style.begun.length + 1;
  const step = Math.floor((verified - full) * begunSteps);
  let bar = style.full.repeat(full) + (step > 0 ? (style.begun[step - 1] ?? '') : '');
  const extend = (to: number, cell: string): void => {
    bar += cell.repeat(Math.max(0, Math.floor(to) - bar.length));
  };
  extend(cellsOf(counters.durable, counters.total), style.durable);
  extend(cellsOf(bytesArrived, bytesTotal ?? Infinity), style.arrived);
  extend(cells, style.empty);
  return style.left + bar + style.right;
}

/** `waiting for the receiver: connection refused, for 3 m 12 s; giving up in 23 h 56 m`. */
function outageLine({ what, since, giveUp }: OutageText, width: number): string {
  const plain = onOneLine(what);
  for (const rest of [since + giveUp, since]) {
    if (cellsIn(plain) + rest.length <= width) return plain + rest;
  }
  const forWhat = width - since.length;
  return forWhat >= 10 ? clip(plain, forWhat) + since : clip(plain, width);
}

/** Messages contain text of the receiver's: nothing in it may move the cursor. */
function onOneLine(text: string): string {
  return printable(stripVTControlCharacters(text), ' ').replaceAll(/ +/g, ' ');
}

function clip(text: string, width: number): string {
  if (cellsIn(text) <= width) return text;
  let kept = '';
  let cells = 1;
  for (const character of text) {
    cells += cellsIn(character);
    if (cells > width) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Never fewer than the terminal uses: characters that may be wide (Unicode TR 11) count as two. */
function cellsIn(text: string): number {
  let cells = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const isNarrow = code < 0x1100 || (code >= 0x2000 && code < 0x2e80);
    cells += isNarrow ? 1 : 2;
  }
  return cells;
}
