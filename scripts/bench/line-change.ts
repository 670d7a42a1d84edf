/**
 * A line that changes under ddt's connections: the rate that `--connections auto` reaches some time after the
 * change, compared with fixed numbers of connections on a line that was like this from the start.
 */
import { mkdtempDisposable, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SCRIPTS, startReceiver } from '../../test/support/processes.ts';
import { lastWords } from '../../test/support/run.ts';
import { Failure } from '../run-script.ts';
import { startAt } from './copy.ts';
import { lineName, openLine, type LineOptions, type LongLine } from './long-line.ts';

const BEFORE_SECONDS = 60;
/** How long it has to adapt to the change. */
const AFTER_SECONDS = 120;
const FIXED_WARM_UP_SECONDS = 20;
const SPAN_SECONDS = 20;
const FIXED = [1, 2, 4, 8, 16, 32, 64] as const;
/** The source must not run out before the measurement ends. */
const SPARE = 1.2;

export interface ChangeBench {
  readonly wan: string;
  readonly folder: string;
  /** Random bytes, {@link bytesForChange} of them. */
  readonly source: string;
  readonly signal: AbortSignal;
}

export interface Change {
  readonly from: LineOptions;
  readonly to: LineOptions;
}

export function bytesForChange({ from, to }: Change): number {
  const mbit = from.rateMbit * BEFORE_SECONDS + to.rateMbit * (AFTER_SECONDS + SPAN_SECONDS);
  return (mbit * 1e6 * SPARE) / 8;
}

interface Seen {
  readonly mbit: number;
  readonly connections: number;
}

/** @param lead runs before the measurement. */
async function measure(
  bench: ChangeBench,
  options: LineOptions,
  connections: string,
  lead: (line: LongLine) => Promise<void>,
): Promise<Seen> {
  const { wan, folder, source, signal } = bench;
  await using stack = new AsyncDisposableStack();
  const own = stack.use(await mkdtempDisposable(join(folder, 'change-'))).path;
  const target = join(own, 'target');
  stack.defer(async () => await rm(target, { force: true }));
  const line = await openLine(wan, options, signal, stack);
  const place = { folder: own, target, host: line.farAddress, under: line.far };
  const { ticketFile } = stack.use(await startReceiver(place));
  const parameters = ['--ticket-file', ticketFile, '--progress', 'json', '--connections', connections];
  const sender = stack.use(await startAt(line.near, [join(SCRIPTS, 'ddt-send'), ...parameters, source]));
  await lead(line);
  const [bytes, startMs] = [await line.arrivedBytes(), performance.now()];
  await delay(SPAN_SECONDS * 1000, undefined, { signal });
  const mbit = (((await line.arrivedBytes()) - bytes) * 8) / 1000 / (performance.now() - startMs);
  if (!sender.isRunning) throw new Failure(`ddt-send has ended: ${lastWords(sender)}`);
  const last = sender.stdout.split('\n').at(-2);
  const seen = last === undefined ? {} : (JSON.parse(last) as { connections?: number });
  return { mbit, connections: seen.connections ?? 0 };
}

/** @returns a table in Markdown. */
export async function benchChange(bench: ChangeBench, { from, to }: Change): Promise<string[]> {
  const { signal } = bench;
  const wait = async (seconds: number): Promise<void> => await delay(seconds * 1000, undefined, { signal });
  const rows: (Seen & { readonly name: string })[] = [];
  for (const count of FIXED) {
    const seen = await measure(bench, to, String(count), async () => await wait(FIXED_WARM_UP_SECONDS));
    process.stderr.write(`${lineName(to)}: ${count} connections: ${seen.mbit.toFixed(1)} Mbit/s\n`);
    rows.push({ name: String(count), ...seen });
  }
  const auto = await measure(bench, from, 'auto', async (line) => {
    await wait(BEFORE_SECONDS);
    await line.change(to);
    await wait(AFTER_SECONDS);
  });
  const best = Math.max(...rows.map(({ mbit }) => mbit));
  rows.push({ name: `auto, now ${auto.connections}`, ...auto });
  return [
    `**${lineName(from)}, then ${lineName(to)}**: Mbit/s on the line, from ${AFTER_SECONDS} to ` +
      `${AFTER_SECONDS + SPAN_SECONDS} s after the change; the fixed numbers had the second line alone`,
    '',
    '| connections | Mbit/s | of the best fixed number |',
    '|---|---:|---:|',
    ...rows.map(
      ({ name, mbit }) => `| ${name} | ${mbit.toFixed(1)} | ${((mbit / best) * 100).toFixed(0)} % |`,
    ),
    '',
  ];
}
