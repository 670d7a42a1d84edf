/** What the live area of a terminal says, for a terminal of any width. Pure. */
import { stripVTControlCharacters } from 'node:util';
import { formatRate, formatSize } from '../../common/units.ts';
import type { Snapshot } from './progress-text.ts';
import type { TroubleText } from './outage.ts';

/** Shorter ones show nothing that the per cent don't. */
const BAR_CELLS_MIN = 6;
const BAR_CELLS_MAX = 60;
/** Less than that is headers. */
const RATIO_MIN = 1.05;

/**
 * What the terminal can show of a bar: left end, full, begun (in rising order), durable only, empty, right
 * end.
 */
export interface BarStyle {
  readonly left: string;
  readonly full: string;
  readonly begun: string;
  readonly durable: string;
  readonly empty: string;
  readonly right: string;
}

export const BLOCKS_STYLE: BarStyle = {
  left: '▕',
  full: '█',
  begun: '▏▎▍▌▋▊▉',
  durable: '▒',
  empty: ' ',
  right: '▏',
};
export const ASCII_STYLE: BarStyle = {
  left: '[',
  full: '#',
  begun: '',
  durable: '-',
  empty: ' ',
  right: ']',
};

export interface LiveState extends Snapshot {
  /** What goes over the line now; `bytesPerSecond` is what becomes durable. */
  readonly lineBytesPerSecond: number;
  /** `13 h 40 m`; `unknown`. */
  readonly timeLeft: string;
  /** undefined: none. */
  readonly limitBytesPerSecond: number | undefined;
  readonly trouble: TroubleText | undefined;
}

/** @returns one line, and a second one when something is wrong; none is wider than `columns` - 1. */
export function liveLines(state: LiveState, columns: number, style: BarStyle): string[] {
  // The last column stays free: there terminals differ in when they wrap.
  const width = Math.max(1, columns - 1);
  const lines = [progressLineOf(state, width, style)];
  if (state.trouble !== undefined) lines.push(troubleLine(state.trouble, width));
  return lines;
}

interface Part {
  /** Its place in the line; the bar stands at 1. */
  readonly place: number;
  readonly text: string;
  /** The room that it takes, whatever it says now, so that nothing moves when a number grows by a digit. */
  readonly cells: number;
}

/** The most important first: what does not fit is left out from the end. */
function partsOf(state: LiveState): Part[] {
  const { counters, connections, bytesWire, blockSizeBytes, limitBytesPerSecond } = state;
  const part = (place: number, text: string, cells: number): Part => ({
    place,
    text,
    cells: Math.max(cells, text.length),
  });
  const share = [
    part(0, `${String(percentOf(state)).padStart(3)} %`, 5),
    part(9, `  ETA ${state.timeLeft}`, '  ETA 23 h 50 m'.length),
  ];
  const parts = [
    // A pipe tells its size when it ends.
    ...(state.bytesTotal === null ? [] : share),
    part(2, ` ${arrivedOf(state)}`, ' 1023.9 GiB verified'.length),
    part(3, `  ${formatRate(state.bytesPerSecond)}`, '  100.0 Mbit/s'.length),
    part(6, `  ${connections} connection${connections === 1 ? '' : 's'}`, '  24 connections'.length),
  ];
  if (counters.resent > 0) parts.push(part(7, `  ${counters.resent} resent`, 0));
  if (limitBytesPerSecond !== undefined) parts.push(part(5, `  limit ${formatRate(limitBytesPerSecond)}`, 0));
  const ratio = ((counters.sent + counters.zero) * blockSizeBytes) / Math.max(1, bytesWire);
  if (bytesWire > 0 && ratio >= RATIO_MIN)
    parts.push(part(8, `  ratio ${ratio.toFixed(1)}`, '  ratio 12.3'.length));
  const rate = formatRate(state.lineBytesPerSecond);
  parts.push(part(4, `  line ${rate}`, '  line 100.0 Mbit/s'.length));
  return parts;
}

function progressLineOf(state: LiveState, width: number, style: BarStyle): string {
  const barCellsMin = BAR_CELLS_MIN + 3;
  const chosen: Part[] = [];
  let free = width;
  let hasBar = false;
  for (const [rank, part] of partsOf(state).entries()) {
    // After per cent, time, bytes and rate, and before the rest.
    if (rank === 4 && free >= barCellsMin && state.bytesTotal !== null) {
      hasBar = true;
      free -= barCellsMin;
    }
    if (part.cells > free) continue;
    free -= part.cells;
    chosen.push(part);
  }
  chosen.sort((a, b) => a.place - b.place);
  const cells = Math.min(BAR_CELLS_MAX, BAR_CELLS_MIN + free);
  // Numbers stand at the right of their room, as in a table.
  const texts = chosen.map(({ text, cells: room }, at) =>
    at < chosen.length - 1 ? text.padStart(room) : text,
  );
  if (hasBar) texts.splice(1, 0, ` ${barOf(state, cells, style)}`);
  return clip(texts.join('').trimEnd(), width);
}

/** Verified blocks count only as far as this run has compared or sent them. */
function verifiedOf({ counters }: Snapshot): number {
  return Math.min(counters.verified, counters.durable);
}

/** Of what is read back, or of what is durable where nothing is (yet). Not rounded up: 100 % is all of it. */
function percentOf(state: Snapshot): number {
  const { total, durable } = state.counters;
  const arrived = verifiedOf(state) > 0 ? verifiedOf(state) : durable;
  return total === 0 ? 100 : Math.floor((arrived * 100) / total);
}

function arrivedOf(state: Snapshot): string {
  const bytesOf = (blocks: number): number =>
    Math.min(state.bytesTotal ?? Infinity, blocks * state.blockSizeBytes);
  const verified = verifiedOf(state);
  if (verified > 0) return `${formatSize(bytesOf(verified))} verified`;
  return `${formatSize(bytesOf(state.counters.durable))} durable`;
}

function barOf(state: Snapshot, cells: number, style: BarStyle): string {
  const { total, durable } = state.counters;
  const cellsOf = (blocks: number): number =>
    total === 0 ? cells : (Math.min(blocks, total) * cells) / total;
  const verified = cellsOf(verifiedOf(state));
  const full = Math.floor(verified);
  const begunSteps = style.begun.length + 1;
  const step = Math.floor((verified - full) * begunSteps);
  let bar = style.full.repeat(full) + (step > 0 ? (style.begun[step - 1] ?? '') : '');
  bar += style.durable.repeat(Math.max(0, Math.floor(cellsOf(durable)) - bar.length));
  return style.left + bar + style.empty.repeat(cells - bar.length) + style.right;
}

/** `waiting for the receiver: connection refused, for 3 m 12 s; giving up in 23 h 56 m`. */
function troubleLine({ what, since, giveUp }: TroubleText, width: number): string {
  const plain = printable(what);
  for (const rest of [since + giveUp, since]) {
    if (cellsIn(plain) + rest.length <= width) return plain + rest;
  }
  const forWhat = width - since.length;
  return forWhat >= 10 ? clip(plain, forWhat) + since : clip(plain, width);
}

/** Messages hold what others sent: nothing in them may move the cursor. */
function printable(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
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

/** Never fewer than the terminal uses: what may be wide in it (Unicode TR 11) counts as two. */
function cellsIn(text: string): number {
  let cells = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const isNarrow = code < 0x1100 || (code >= 0x2000 && code < 0x2e80);
    cells += isNarrow ? 1 : 2;
  }
  return cells;
}
