/** The reporter for this process's outputs, neither of which it waits for. */
import { systemClock } from '../../common/clock.ts';
import type { LiveArea } from '../../common/io/live-area.ts';
import { canDrawOn, hasBlockCharacters } from '../../common/io/terminal-kind.ts';
import type { TextOutput } from '../../common/io/terminal-output.ts';
import { TerminalTitle, hasTitle } from '../../common/io/terminal-title.ts';
import { ASCII_STYLE, BLOCKS_STYLE, type BarStyle } from './live-line.ts';
import { Reporter } from './reporter.ts';
import type { ProgressFormat, ReporterOptions } from './reporter-options.ts';

/** What the live line is drawn on. */
export interface Screen {
  readonly area: LiveArea;
  readonly style: BarStyle;
  readonly title?: TerminalTitle;
}

export interface Outputs {
  readonly out: TextOutput;
  readonly err: TextOutput;
  /** Of another machine: in place of this process's terminal. null: there is none. */
  readonly screen?: Screen | null;
}

export async function makeReporter(
  wanted: ProgressFormat | 'auto',
  { out, err, screen }: Outputs,
  { watch, trouble }: Pick<ReporterOptions, 'watch' | 'trouble'> = {},
): Promise<Reporter> {
  const canDraw = screen === undefined ? canDrawOn(process.stderr, process.env['TERM']) : screen !== null;
  const isAuto = wanted === 'auto' || (wanted === 'tty' && !canDraw);
  const writeErr = (text: string): void => void err.write(text);
  const format = isAuto ? (canDraw ? 'tty' : 'plain') : wanted;
  return new Reporter({
    format,
    isTerminal: screen === undefined ? process.stderr.isTTY : canDraw,
    clock: systemClock,
    writeOut: (text) => void out.write(text),
    writeErr,
    watch,
    trouble,
    ...(format === 'tty' ? { live: screen ?? (await ownScreen(writeErr)) } : {}),
  });
}

/** Loaded where there is a terminal: the widths of all characters take a tenth of the start. */
async function ownScreen(write: (text: string) => void): Promise<Screen> {
  const { TerminalArea } = await import('../../common/io/live-area.ts');
  const style = hasBlockCharacters(process.env) ? BLOCKS_STYLE : ASCII_STYLE;
  const title = hasTitle(process.env) ? { title: new TerminalTitle(write) } : {};
  return { area: new TerminalArea(process.stderr, write), style, ...title };
}
