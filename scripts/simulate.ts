/**
 * Runs simulated transfers, one a seed, until one breaks an invariant; then prints its seed and runs it once
 * more with all that happened. `npm run simulate -- --seeds 1000 --from 1`; one seed with its events: `--from
 * 7 --trace`.
 */
import { parseArgs } from 'node:util';
import { SeedRunner } from '../test/simulation/run-seed.ts';
import type { SimulationResult } from '../test/simulation/simulation.ts';

/** Of a failing run, the last events are what one looks at first. */
const EVENTS_SHOWN = 60;
const PROGRESS_EVERY = 10_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    from: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
  },
});

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function replay(runner: SeedRunner, seed: number, eventsShown: number): Promise<SimulationResult> {
  const lines: string[] = [];
  const onTrace = (atMs: number, label: string, a: number, b: number): void => {
    lines.push(`${atMs.toFixed(3).padStart(14)}  ${label} ${a} ${b}`);
  };
  const result = await runner.run(seed, onTrace);
  print(lines.slice(-eventsShown).join('\n'));
  return result;
}

/** @returns whether all seeds held. */
async function simulate(runner: SeedRunner, seeds: number, from: number): Promise<boolean> {
  const outcomes = new Map<string, number>();
  const startMs = performance.now();
  let faults = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const result = await runner.run(seed);
    if (result.violation !== undefined) {
      const again = await replay(runner, seed, EVENTS_SHOWN);
      print(`seed ${seed} after ${seed - from + 1} seeds: ${result.violation}`);
      if (again.traceDigest !== result.traceDigest)
        print('the second run went another way: something is not simulated');
      print(`all of its events: npm run simulate -- --from ${seed} --trace`);
      return false;
    }
    faults += result.faultCount;
    outcomes.set(result.outcome, (outcomes.get(result.outcome) ?? 0) + 1);
    if ((seed - from + 1) % PROGRESS_EVERY === 0) print(`${seed - from + 1} seeds`);
  }
  const seconds = (performance.now() - startMs) / 1000;
  const ends = [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
  print(
    `${seeds} seeds from ${from}: no invariant broken, ${faults} faults, ` +
      `${seconds.toFixed(1)} s; ended: ${ends}`,
  );
  return true;
}

await using runner = await SeedRunner.open();
const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || !Number.isSafeInteger(from)) {
  process.stderr.write('simulate: error: --seeds and --from are whole numbers\n');
  process.exitCode = 2;
} else if (values.trace) {
  const result = await replay(runner, from, Infinity);
  print(JSON.stringify(result));
  if (result.violation !== undefined) process.exitCode = 1;
} else if (!(await simulate(runner, seeds, from))) {
  process.exitCode = 1;
}
