/** The reporter for this process's outputs. */
import { systemClock } from '../../common/clock.ts';
import { TerminalArea, canDrawOn, hasBlockCharacters } from './live-area.ts';
import { ASCII_STYLE, BLOCKS_STYLE } from './live-line.ts';
import { Reporter, type ProgressFormat } from './reporter.ts';

export function makeReporter(wanted: ProgressFormat | 'auto'): Reporter {
  const canDraw = canDrawOn(process.stderr, process.env['TERM']);
  const isAuto = wanted === 'auto' || (wanted === 'tty' && !canDraw);
  const format = isAuto ? (canDraw ? 'tty' : 'plain') : wanted;
  const style = hasBlockCharacters(process.env) ? BLOCKS_STYLE : ASCII_STYLE;
  return new Reporter({
    format,
    isTerminal: process.stderr.isTTY,
    clock: systemClock,
    writeOut: (text) => process.stdout.write(text),
    writeErr: (text) => process.stderr.write(text),
    ...(format === 'tty' ? { live: { area: new TerminalArea(process.stderr), style } } : {}),
  });
}
