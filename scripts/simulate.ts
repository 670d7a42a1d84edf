/**
 * Runs simulated transfers, one per seed, until one breaks an invariant; then prints its seed and its last
 * events. `npm run simulate -- --seeds 1000 --from 1`; one seed with all its events: `npm run simulate --
 * --from 7 --trace`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { SeedRunner } from '../test/simulation/run-seed.ts';
import type { SimulationResult } from '../test/simulation/simulation.ts';

/** The last events of a failing run are the ones to look at first. */
const EVENTS_SHOWN = 60;
/**
 * A simulated process that is killed waits forever and keeps its memory for slabs, which reserves 10 GB of
 * addresses each. A process has 128 TB of them, so each one ends after this many seeds.
 */
const SEEDS_PER_PROCESS = 2500;

/** The results of one process, or of all. */
interface Tally {
  seeds: number;
  faults: number;
  outcomes: Record<string, number>;
}

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

/** @returns undefined when an invariant broke. */
async function simulate(seeds: number, from: number): Promise<Tally | undefined> {
  await using runner = await SeedRunner.open();
  const tally: Tally = { seeds, faults: 0, outcomes: {} };
  for (let seed = from; seed < from + seeds; seed++) {
    const result = await runner.run(seed);
    if (result.violation !== undefined) {
      const again = await replay(runner, seed, EVENTS_SHOWN);
      print(`seed ${seed}: ${result.violation}`);
      if (again.traceDigest !== result.traceDigest)
        print('the second run of this seed took another course: something is not simulated');
      print(`to see all its events: npm run simulate -- --from ${seed} --trace`);
      return undefined;
    }
    tally.faults += result.faultCount;
    tally.outcomes[result.outcome] = (tally.outcomes[result.outcome] ?? 0) + 1;
  }
  return tally;
}

function isTally(message: unknown): message is Tally {
  return typeof message === 'object' && message !== null && 'outcomes' in message;
}

/** As {@link simulate}, in a process of its own. */
async function simulateApart(seeds: number, from: number): Promise<Tally | undefined> {
  const child = fork(import.meta.filename, ['--seeds', String(seeds), '--from', String(from)]);
  let tally: Tally | undefined;
  child.on('message', (message: unknown) => {
    if (isTally(message)) tally = message;
  });
  await once(child, 'exit');
  return tally;
}

/** One process at a time per core. @returns whether all seeds passed. */
async function simulateAll(seeds: number, from: number): Promise<boolean> {
  const startMs = performance.now();
  const total: Tally = { seeds: 0, faults: 0, outcomes: {} };
  let next = from;
  let hasFailed = false;
  const runProcesses = async (): Promise<void> => {
    while (next < from + seeds && !hasFailed) {
      const [first, count] = [next, Math.min(SEEDS_PER_PROCESS, from + seeds - next)];
      next += count;
      const tally = await simulateApart(count, first);
      hasFailed ||= tally === undefined;
      if (tally === undefined) return;
      total.seeds += count;
      total.faults += tally.faults;
      for (const [outcome, times] of Object.entries(tally.outcomes))
        total.outcomes[outcome] = (total.outcomes[outcome] ?? 0) + times;
      if (seeds > SEEDS_PER_PROCESS) print(`${total.seeds} seeds`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runProcesses));
  if (hasFailed) return false;
  const seconds = (performance.now() - startMs) / 1000;
  const ends = Object.entries(total.outcomes).map(([outcome, count]) => `${count} ${outcome}`);
  print(
    `${seeds} seeds from ${from}: no invariant broken, ${total.faults} faults, ` +
      `${seconds.toFixed(1)} s; ended: ${ends.join(', ')}`,
  );
  return true;
}

const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || !Number.isSafeInteger(from) || seeds < 1 || from < 0) {
  process.stderr.write('simulate: error: --seeds and --from must be whole numbers\n');
  process.exitCode = 2;
} else if (values.trace) {
  await using runner = await SeedRunner.open();
  const result = await replay(runner, from, Infinity);
  print(JSON.stringify(result));
  if (result.violation !== undefined) process.exitCode = 1;
} else if (process.send !== undefined) {
  const tally = await simulate(seeds, from);
  if (tally === undefined) process.exitCode = 1;
  else process.send(tally);
} else if (!(await simulateAll(seeds, from))) {
  process.exitCode = 1;
}
