/** The reporter for this process's outputs, neither of which it waits for. */
import { systemClock } from '../../common/clock.ts';
import type { TextOutput } from '../../common/io/terminal-output.ts';
import type { LiveArea } from '../../common/io/live-area.ts';
import { ASCII_STYLE, BLOCKS_STYLE } from './live-line.ts';
import { Reporter, type ProgressFormat } from './reporter.ts';
import { canDrawOn, hasBlockCharacters } from '../../common/io/terminal-kind.ts';

export interface Outputs {
  readonly out: TextOutput;
  readonly err: TextOutput;
}

export async function makeReporter(
  wanted: ProgressFormat | 'auto',
  { out, err }: Outputs,
): Promise<Reporter> {
  const canDraw = canDrawOn(process.stderr, process.env['TERM']);
  const isAuto = wanted === 'auto' || (wanted === 'tty' && !canDraw);
  const writeErr = (text: string): void => void err.write(text);
  const format = isAuto ? (canDraw ? 'tty' : 'plain') : wanted;
  const style = hasBlockCharacters(process.env) ? BLOCKS_STYLE : ASCII_STYLE;
  return new Reporter({
    format,
    isTerminal: process.stderr.isTTY,
    clock: systemClock,
    writeOut: (text) => void out.write(text),
    writeErr,
    ...(format === 'tty' ? { live: { area: await makeArea(writeErr), style } } : {}),
  });
}

/** Loaded where there is a terminal: the widths of all characters take a tenth of the start. */
async function makeArea(write: (text: string) => void): Promise<LiveArea> {
  const { TerminalArea } = await import('../../common/io/live-area.ts');
  return new TerminalArea(process.stderr, write);
}
